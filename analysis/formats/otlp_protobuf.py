"""OTLP protobuf.

ExportTraceServiceRequest messages, each preceded by its length as a varint, as the recorder
appends them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from analysis.formats.columns import Batch
from analysis.formats.otlp_json import KINDS, STATUSES

_MAX_MESSAGE_BYTES = 1 << 30
"""Longer than any export: a length above this is no length, the file is damaged or of another
format.
"""
_MAX_VARINT_BYTES = 10
_KIND_OF, _STATUS_OF = dict(enumerate(KINDS)), dict(enumerate(STATUSES))
_GOES_ON = 0x80
"""A varint's byte at or above this is followed by another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecodable:
    """A stretch of the file that is no message."""

    offset: int
    length: int


def messages(file: BinaryIO, lost: list[Undecodable]) -> Iterator[bytes]:
    """Give each message's bytes.

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
        yield message
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


def batches(file: BinaryIO, lost: list[Undecodable], *, rows: int = 100_000) -> Iterator[pa.Table]:
    """Decode a file into tables of about ``rows`` spans.

    What cannot be decoded is put into ``lost`` and passed over.
    """
    batch, offset = Batch(), 0
    for message in messages(file, lost):
        try:
            request = ExportTraceServiceRequest.FromString(message)
        except DecodeError:
            lost.append(Undecodable(offset=offset, length=len(message)))
            continue
        finally:
            offset += len(message)
        _add_request(batch, request)
        if len(batch) >= rows:
            yield batch.table()
            batch = Batch()
    if len(batch):
        yield batch.table()


def _add_request(batch: Batch, request: ExportTraceServiceRequest) -> None:
    for resource in request.resource_spans:
        about = {a.key: a.value.string_value for a in resource.resource.attributes}
        for scope in resource.scope_spans:
            _add(batch, scope.spans, about.get("service.name"), about.get("worthit.arm"))


def _add(batch: Batch, spans: Sequence[Any], service: str | None, arm: str | None) -> None:
    """Add a scope's spans. A message's field costs a call: each is read once, whole columns first.

    A span outside of any request (a start-up, a pre-warming) has no baggage; it takes its arm from
    its service.
    """
    columns, begin = batch.columns, len(batch)
    columns["trace_id"] += [span.trace_id.hex() for span in spans]
    columns["span_id"] += [span.span_id.hex() for span in spans]
    columns["parent_span_id"] += [span.parent_span_id.hex() or None for span in spans]
    columns["service"] += [service] * len(spans)
    columns["name"] += [span.name for span in spans]
    columns["kind"] += [_KIND_OF.get(span.kind, KINDS[0]) for span in spans]
    starts = [span.start_time_unix_nano for span in spans]
    ends = [span.end_time_unix_nano for span in spans]
    columns["start_ns"] += starts
    columns["duration_ns"] += [
        end - start if end else None for start, end in zip(starts, ends, strict=True)
    ]
    columns["status"] += [_STATUS_OF.get(span.status.code, STATUSES[0]) for span in spans]
    for row, span in enumerate(spans, start=begin):
        attributes = {}
        for attribute in span.attributes:
            value = attribute.value
            attributes[attribute.key] = value.string_value or _value(value)
        batch.promote(attributes)
        if span.links:
            batch.sparse["links"][row] = _links(span)
        if arm is not None:
            batch.sparse["arm"].setdefault(row, arm)


def _links(span: Any) -> str:
    links = [
        {"trace_id": link.trace_id.hex(), "span_id": link.span_id.hex()} for link in span.links
    ]
    return orjson.dumps(links).decode()


def _value(value: Any) -> Any:
    """Read an AnyValue."""
    which = value.WhichOneof("value")
    if which is None:
        return None
    content = getattr(value, which)
    if which == "array_value":
        return [_value(item) for item in content.values]
    if which == "kvlist_value":
        return {item.key: _value(item.value) for item in content.values}
    return content.hex() if which == "bytes_value" else content
