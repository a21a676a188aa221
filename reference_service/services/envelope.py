"""Cached values as typed JSON: which schema, which version of the row, and the value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

SCHEMA: Final = 1
"""Raise it when a cached value changes its form: older entries then count as missing."""


class CorruptEntryError(ValueError):
    """A cached entry is not one of ours, or of another schema."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A cached value."""

    row_version: int
    value: Any
    """None says that there is no such row."""


def seal(row_version: int, value: Any) -> bytes:
    """Return the entry for a value that JSON can hold."""
    return orjson.dumps({"schema": SCHEMA, "row_version": row_version, "value": value})


def open_envelope(entry: bytes) -> Envelope:
    """Return what an entry holds; raises CorruptEntryError when it is not one."""
    try:
        found = orjson.loads(entry)
        schema, row_version, value = found["schema"], found["row_version"], found["value"]
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptEntryError(f"an entry of {len(entry)} bytes is not an envelope") from error
    if schema != SCHEMA or not isinstance(row_version, int):
        raise CorruptEntryError(f"an entry has schema {schema!r}, expected {SCHEMA}")
    return Envelope(row_version, value)
