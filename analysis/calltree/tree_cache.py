"""What was found of the table that was asked about last? Kept as long as that very table lives.

Several questions about one table begin with the same work, which takes longer than the questions.
Nobody can tell that it is done once: what is kept is given only for the same object with the same
columns in the same memory. The copy that shares memory makes pandas write changes elsewhere
(copy-on-write), so that a changed table is seen to be another one. Columns whose memory cannot
be named (objects) are never recognised.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Generic, TypeVar

import pandas as pd
import pyarrow as pa

_Found = TypeVar("_Found")
_Places = tuple[tuple[int, ...], ...]


class Remembered(Generic[_Found]):
    """The newest finding, of one table, as far as it depends on ``columns``."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = tuple(columns)
        self._kept: _Kept[_Found] | None = None

    def recall(self, table: pd.DataFrame) -> _Found | None:
        """Give what was kept of this table; None where it is another, or has changed since."""
        kept = self._kept
        if kept is None or kept.table() is not table:
            return None
        if kept.places != self._places(table):
            self._kept = None
            return None
        return kept.found

    def keep(self, table: pd.DataFrame, found: _Found) -> None:
        """Keep what was found of this table, and nothing of tables before it."""
        shared = table.copy(deep=False)
        places = self._places(shared)
        if places is not None:
            gone = weakref.ref(table, self._forget)
            self._kept = _Kept(gone, shared, places, found)

    def _forget(self, gone: weakref.ref[pd.DataFrame]) -> None:
        kept = self._kept
        if kept is not None and kept.table is gone:
            self._kept = None

    def _places(self, table: pd.DataFrame) -> _Places | None:
        """Where in memory each column lies; None where one is no buffer."""
        found: list[tuple[int, ...]] = []
        for name in self._columns:
            if name not in table.columns:
                found.append((0,))
                continue
            column = table[name]
            if column.dtype == object:
                return None
            found.append(_addresses(column))
        return tuple(found)


class _Kept(Generic[_Found]):
    """One finding and the table that it is of, which it does not keep alive."""

    __slots__ = ("found", "places", "shared", "table")

    def __init__(
        self,
        table: weakref.ref[pd.DataFrame],
        shared: pd.DataFrame,
        places: _Places,
        found: _Found,
    ) -> None:
        self.table = table
        self.shared = shared
        self.places = places
        self.found = found


def _addresses(column: pd.Series) -> tuple[int, ...]:
    """Length and addresses of a column's values; those of missing marks move and are left out.

    Truths are packed into new bits each time: the bits themselves stand for their address.
    """
    array = pa.array(column)
    chunks = array.chunks if isinstance(array, pa.ChunkedArray) else [array]
    found = [len(array)]
    for chunk in chunks:
        buffers = [buffer for buffer in chunk.buffers()[1:] if buffer is not None]
        found.append(chunk.offset)
        if pa.types.is_boolean(chunk.type):
            found += [hash(buffer.to_pybytes()) for buffer in buffers]
        else:
            found += [buffer.address for buffer in buffers]
    return tuple(found)
