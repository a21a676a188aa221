"""OTLP protobuf.

ExportTraceServiceRequest messages, each preceded by its length as a varint, as the recorder
appends them; or by four bytes, most significant first, as the collector's file exporter writes
protobuf, and anything that it compresses message by message (opentelemetry-collector-contrib,
exporter/fileexporter, file_writer.go).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO

import pyarrow as pa
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

from analysis.formats import unpacking
from analysis.formats.otlp import otlp_columns as wired

_MAX_MESSAGE_BYTES = 1 << 30
"""Longer than any export: a length above this is no length, the file is damaged or of another
format.
"""
_MAX_VARINT_BYTES = 10
_GOES_ON = 0x80
"""A varint's byte at or above this is followed by another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecodable:
    """A stretch of the file that is no message."""

    offset: int
    length: int


def messages(file: BinaryIO, lost: list[Undecodable]) -> Iterator[tuple[int, bytes]]:
    """Give each message's bytes, and where in the file they begin.

    A tail cut off in the middle of a message is put into ``lost``.
    """
    offset = 0
    while True:
        length, used = _varint(file)
        if used == 0:
            return
        if length < 0 or length > _MAX_MESSAGE_BYTES:
            lost.append(Undecodable(offset=offset, length=used + len(file.read())))
            return
        message = file.read(length)
        if len(message) < length:
            lost.append(Undecodable(offset=offset, length=used + len(message)))
            return
        yield offset + used, message
        offset += used + length


def _varint(file: BinaryIO) -> tuple[int, int]:
    """Read a base-128 varint: its value (-1 where it does not end) and how many bytes it took."""
    value = used = 0
    while used < _MAX_VARINT_BYTES:
        byte = file.read(1)
        if not byte:
            return (-1, used) if used else (0, 0)
        value |= (byte[0] & 0x7F) << (7 * used)
        used += 1
        if byte[0] < _GOES_ON:
            return value, used
    return -1, used


def batches(
    file: BinaryIO,
    lost: list[Undecodable],
    *,
    batch_bytes: int = 1 << 25,
    with_resource: bool = False,
) -> Iterator[pa.Table]:
    """Decode a file into tables of some ten thousand spans each.

    What cannot be decoded is put into ``lost`` and passed over. The library parses every message,
    so that a damaged one is known; its spans are then taken from the bytes (``otlp_columns``),
    five times as fast as by asking the library for every field.
    """
    whole: list[tuple[int, bytes]] = []
    size = 0
    for offset, message in messages(file, lost):
        try:
            ExportTraceServiceRequest.FromString(message)
        except DecodeError:
            lost.append(Undecodable(offset=offset, length=len(message)))
        else:
            whole.append((offset, message))
            size += len(message)
        if size >= batch_bytes:
            yield from _tables(whole, lost, with_resource=with_resource)
            whole, size = [], 0
    if whole:
        yield from _tables(whole, lost, with_resource=with_resource)


def _tables(
    whole: list[tuple[int, bytes]], lost: list[Undecodable], *, with_resource: bool = False
) -> Iterator[pa.Table]:
    """Give one table; where damage hides inside a message that parses, one for each good one."""
    try:
        yield wired.table([message for _, message in whole], with_resource=with_resource)
    except (DecodeError, UnicodeDecodeError):
        if len(whole) == 1:
            offset, message = whole[0]
            lost.append(Undecodable(offset=offset, length=len(message)))
            return
        for one in whole:
            yield from _tables([one], lost, with_resource=with_resource)


def begins_with_spans(file: BinaryIO) -> bool:
    """Whether a file begins as a recording does: its length, then a message that holds spans."""
    length, used = _varint(file)
    if not used or not 0 < length <= _MAX_MESSAGE_BYTES:
        return False
    message = file.read(length)
    return len(message) == length and _spans_in(message) > 0


def one_message(content: bytes, lost: list[Undecodable]) -> list[pa.Table]:
    """Decode one message, without a length before it."""
    return list(_tables([(0, content)], lost))


def is_message(content: bytes) -> bool:
    """Whether all of it is one message that holds spans, as an exporter posts it."""
    return _spans_in(content) > 0


def _spans_in(message: bytes) -> int:
    try:
        request = ExportTraceServiceRequest.FromString(message)
    except DecodeError:
        return 0
    return sum(len(scope.spans) for part in request.resource_spans for scope in part.scope_spans)


_FRAME_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Framed:
    """What a file of the collector's file exporter holds."""

    messages: list[tuple[int, bytes]]
    """Protobuf, and where in the file each begins."""
    texts: list[bytes]
    """JSON, together."""
    lost: list[Undecodable] = field(default_factory=list)


def framed(content: bytes) -> Framed | None:
    """Take a file apart whose first message stands after a length of four bytes; None: it is none.

    The first message must be of a known signal, or a zstd frame, or JSON, as long as it says.
    """
    first = _frame_at(content, 0)
    if first is None or not (_is_json(first) or signal(first) is not None):
        return None
    place, messages, texts = 0, [], []
    lost: list[Undecodable] = []
    while place < len(content):
        body = _frame_at(content, place)
        if body is None:
            lost.append(Undecodable(offset=place, length=len(content) - place))
            break
        begin = place + _FRAME_BYTES
        if _is_json(body):
            texts.append(body)
        else:
            messages.append((begin, body))
        place = begin + int.from_bytes(content[place:begin], "big")
    return Framed(messages=messages, texts=[b"\n".join(texts)] if texts else [], lost=lost)


def _frame_at(content: bytes, place: int) -> bytes | None:
    """Give the message at a place, unpacked; None where there is none that is whole."""
    begin = place + _FRAME_BYTES
    length = int.from_bytes(content[place:begin], "big")
    if not 0 < length <= min(_MAX_MESSAGE_BYTES, len(content) - begin):
        return None
    body = content[begin : begin + length]
    if not body.startswith(unpacking.ZSTD):
        return body
    try:
        return unpacking.frame(body)
    except ValueError:
        return None


def _is_json(body: bytes) -> bool:
    return body[:1] in (b"{", b"[") and body.rstrip()[-1:] in (b"}", b"]")


def framed_tables(found: Framed, lost: list[Undecodable]) -> tuple[list[pa.Table], dict[str, int]]:
    """Decode the messages of traces; count those of other signals."""
    traces: list[tuple[int, bytes]] = []
    others: dict[str, int] = {}
    for offset, message in found.messages:
        kind = signal(message)
        if kind == "traces":
            traces.append((offset, message))
        elif kind is None:
            lost.append(Undecodable(offset=offset, length=len(message)))
        else:
            others[kind] = others.get(kind, 0) + 1
    return (list(_tables(traces, lost)) if traces else []), others


def signal(message: bytes) -> str | None:
    """Say which of OTLP's signals a message is; None: it is no message of OTLP.

    The three messages have the same numbers for different fields, so that one parses as another:
    what tells them apart is that ids have 16 and 8 bytes, that a metric has data, a log a time.
    """
    try:
        traces = ExportTraceServiceRequest.FromString(message)
        if any(
            len(span.trace_id) == _TRACE_ID_BYTES and len(span.span_id) == _SPAN_ID_BYTES
            for part in traces.resource_spans
            for scope in part.scope_spans
            for span in scope.spans
        ):
            return "traces"
        metrics = MetricsData.FromString(message)
        if any(
            metric.name and metric.WhichOneof("data")
            for part in metrics.resource_metrics
            for scope in part.scope_metrics
            for metric in scope.metrics
        ):
            return "metrics"
        logs = LogsData.FromString(message)
        if any(
            record.time_unix_nano or record.observed_time_unix_nano
            for part in logs.resource_logs
            for scope in part.scope_logs
            for record in scope.log_records
        ):
            return "logs"
    except DecodeError:
        return None
    return None


def without_answer(content: bytes) -> bytes:
    """Give the traces in a ``TraceByIDResponse`` of Tempo's API v2; anything else as it is.

    Its first field is a message of traces, statistics follow (grafana/tempo, tempo.proto).
    """
    if content[:1] != _FIRST_FIELD:
        return content
    length, used = _varint(BytesIO(content[1 : 1 + _MAX_VARINT_BYTES]))
    inner = content[1 + used : 1 + used + length]
    return inner if 0 < length == len(inner) and signal(inner) == "traces" else content


_FIRST_FIELD = b"\x0a"
"""Of a message, with its length after it."""
_TRACE_ID_BYTES, _SPAN_ID_BYTES = 16, 8
