"""Cached values as typed JSON with owner, schema version and row version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

SCHEMA: Final = 1
"""Raise it when a cached value changes its form: older entries then count as missing."""
ENTRY_MAX_BYTES: Final = 262_144
"""An entry above this is none of ours; reading it on would stall the other requests."""

JsonValue = Any
"""What JSON can hold: None, bool, int, float, str, list, dict."""


class CorruptEntryError(ValueError):
    """A cached entry is not one of ours, of another schema, or of another key."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A cached value."""

    row_version: int
    value: JsonValue
    """None says that there is no such row."""


def seal(key: str, row_version: int, value: JsonValue) -> bytes:
    """Return the entry for a value; it carries its key, so that it can be told from another's."""
    return orjson.dumps({"schema": SCHEMA, "key": key, "row_version": row_version, "value": value})


def open_envelope(key: str, entry: bytes) -> Envelope:
    """Return what the entry of this key holds; raises CorruptEntryError when it is not one."""
    if len(entry) > ENTRY_MAX_BYTES:
        raise CorruptEntryError(f"an entry has {len(entry)} bytes, above {ENTRY_MAX_BYTES}")
    try:
        found = orjson.loads(entry)
        schema, owner = found["schema"], found["key"]
        row_version, value = found["row_version"], found["value"]
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptEntryError(f"an entry of {len(entry)} bytes is not an envelope") from error
    if schema != SCHEMA or type(row_version) is not int:
        raise CorruptEntryError(f"an entry has schema {schema!r}, expected {SCHEMA}")
    if owner != key:
        raise CorruptEntryError("an entry belongs to another key")
    return Envelope(row_version, value)
