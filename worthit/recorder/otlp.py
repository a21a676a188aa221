"""Is this OTLP, and how many spans are in it? Bytes of HTTP or gRPC in, protobuf bytes out."""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass
from typing import Any

import orjson
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

MAX_DECODED_BYTES = 64 << 20
"""What a compressed body may grow to; a guard against a few KiB that unpack to GiB."""


class RefusedError(Exception):
    """The batch cannot be taken; `status` is the HTTP status that says so."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Signal:
    """One of OTLP's three kinds of telemetry."""

    name: str
    request: type[Message]


TRACES = Signal("traces", ExportTraceServiceRequest)
METRICS = Signal("metrics", ExportMetricsServiceRequest)
LOGS = Signal("logs", ExportLogsServiceRequest)

SIGNALS = {"/v1/traces": TRACES, "/v1/metrics": METRICS, "/v1/logs": LOGS}
"""By HTTP path."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch fit to be kept: its protobuf bytes and how many spans, metrics or records it has."""

    data: bytes
    items: int


def unpack(body: bytes, encoding: str) -> bytes:
    """Undo the content encoding; raises RefusedError."""
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"}:
        return body
    if encoding not in {"gzip", "deflate"}:
        raise RefusedError(
            f"Content-Encoding {encoding} is not supported; send gzip, deflate or none.", 415
        )
    data, rest = _member(body, encoding, MAX_DECODED_BYTES)
    while encoding == "gzip" and (rest := rest.lstrip(b"\0")):
        # one gzip after the other is a gzip too (RFC 1952, section 2.2), zeros may pad it
        more, rest = _member(rest, encoding, MAX_DECODED_BYTES - len(data))
        data += more
    return data


def _member(body: bytes, encoding: str, most: int) -> tuple[bytes, bytes]:
    """Unpack the first compressed stream in `body`; also give what stands behind it."""
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        # one byte more than allowed: 0 would mean without limit
        data = unpacker.decompress(body, most + 1)
    except zlib.error as error:
        raise RefusedError(f"The body is not valid {encoding}: {error}.") from None
    if len(data) > most:
        raise RefusedError(f"The body unpacks to more than {MAX_DECODED_BYTES} bytes.", 413)
    if not unpacker.eof:
        raise RefusedError(f"The {encoding} body is cut off.")
    return data, unpacker.unused_data


def from_protobuf(signal: Signal, data: bytes) -> Batch:
    """Check protobuf bytes by decoding them; raises RefusedError."""
    message = signal.request()
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise RefusedError(f"The body is not an OTLP {signal.name} message.") from None
    return Batch(data, count(signal, message))


def from_json(signal: Signal, data: bytes) -> Batch:
    """Turn OTLP/JSON (hexadecimal ids, enums as numbers, unknown fields ignored) into protobuf."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise RefusedError(f"The body is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise RefusedError("The body must be a JSON object.")
    message = signal.request()
    try:
        _ids_to_base64(value)
        json_format.ParseDict(value, message, ignore_unknown_fields=True)
    except (
        json_format.ParseError,
        binascii.Error,
        TypeError,
        ValueError,
        RecursionError,
    ) as error:
        raise RefusedError(f"The body is not OTLP {signal.name} in JSON: {error}.") from None
    return Batch(message.SerializeToString(), count(signal, message))


def _ids_to_base64(value: dict[str, Any]) -> None:
    """OTLP/JSON writes ids in hexadecimal, protobuf's JSON in base64; change them in place."""
    waiting: list[Any] = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            for key in (
                "traceId",
                "spanId",
                "parentSpanId",
                "trace_id",
                "span_id",
                "parent_span_id",
            ):
                if isinstance(node.get(key), str):
                    node[key] = base64.b64encode(bytes.fromhex(node[key])).decode("ascii")
            waiting.extend(child for child in node.values() if isinstance(child, list | dict))


def count(signal: Signal, message: Any) -> int:  # noqa: ANN401 - one of three generated classes
    """How many spans, metrics or log records the message has."""
    if signal is TRACES:
        return sum(len(s.spans) for r in message.resource_spans for s in r.scope_spans)
    if signal is METRICS:
        return sum(len(s.metrics) for r in message.resource_metrics for s in r.scope_metrics)
    return sum(len(s.log_records) for r in message.resource_logs for s in r.scope_logs)
