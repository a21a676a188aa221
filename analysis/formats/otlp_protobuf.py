"""OTLP protobuf.

ExportTraceServiceRequest messages, each preceded by its length as a varint, as the recorder
appends them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from analysis.formats import otlp_columns as wired

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


def batches(
    file: BinaryIO, lost: list[Undecodable], *, batch_bytes: int = 1 << 25
) -> Iterator[pa.Table]:
    """Decode a file into tables of some ten thousand spans each.

    What cannot be decoded is put into ``lost`` and passed over. The library parses every message,
    so that a damaged one is known; its spans are then taken from the bytes (``otlp_columns``),
    five times as fast as by asking the library for every field.
    """
    whole: list[bytes] = []
    size = offset = 0
    for message in messages(file, lost):
        try:
            ExportTraceServiceRequest.FromString(message)
        except DecodeError:
            lost.append(Undecodable(offset=offset, length=len(message)))
        else:
            whole.append(message)
            size += len(message)
        offset += len(message) + _varint_bytes(len(message))
        if size >= batch_bytes:
            yield from _tables(whole, lost)
            whole, size = [], 0
    if whole:
        yield from _tables(whole, lost)


def _tables(whole: list[bytes], lost: list[Undecodable]) -> Iterator[pa.Table]:
    """Give one table; where damage hides inside a message that parses, one for each good one."""
    try:
        yield wired.table(whole)
    except (DecodeError, UnicodeDecodeError):
        if len(whole) == 1:
            lost.append(Undecodable(offset=0, length=len(whole[0])))
            return
        for message in whole:
            yield from _tables([message], lost)


def _varint_bytes(value: int) -> int:
    return max(1, -(-value.bit_length() // 7))
