"""Embeddings on their way to PostgreSQL: as a binary `real[]`, which casts to `vector`.

pgvector's own type has no fixed number, so binding it in binary would take a query per connection
to find it; as text a vector of 256 floats costs some 60 us to print. A `real[]` has a fixed number
and casts without loss.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from psycopg import adapters
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format
from typing_extensions import override

_REAL_OID: Final = 700
_REAL_ARRAY_OID: Final = 1021
_ARRAY_HEAD: Final = struct.Struct(">iiiii")
"""Dimensions, has-nulls, element type, length, lower bound."""
_ELEMENT: Final = np.dtype([("bytes", ">i4"), ("value", ">f4")])


class FloatArray:
    """An embedding as packed little-endian 32-bit floats."""

    __slots__ = ("packed",)

    def __init__(self, packed: bytes) -> None:
        self.packed = packed

    def __len__(self) -> int:
        """Return the number of dimensions."""
        return len(self.packed) // 4


class FloatArrayDumper(Dumper):
    """Writes a FloatArray in PostgreSQL's binary array format."""

    format = Format.BINARY
    oid = _REAL_ARRAY_OID

    @override
    def dump(self, obj: FloatArray) -> Buffer:
        floats = np.frombuffer(obj.packed, "<f4")
        elements = np.empty(floats.size, _ELEMENT)
        elements["bytes"] = 4
        elements["value"] = floats
        return _ARRAY_HEAD.pack(1, 0, _REAL_OID, floats.size, 1) + elements.tobytes()


def register() -> None:
    """Teach psycopg the dumper, for connections made from now on."""
    adapters.register_dumper(FloatArray, FloatArrayDumper)
