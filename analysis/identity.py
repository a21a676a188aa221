"""Which rows belong to one trace, and which row is whose parent: ids of any form, exactly.

Ids are read where they lie, in Arrow's buffers; no Python string is made. Two ids are equal when
their bytes are: a hash only says where to look.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.kernels import hashing

_WORD_BYTES = 8
_WORD_SHIFT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Ids:
    """A column of ids as words of eight bytes: row i is ``words[places[i]:places[i + 1]]``.

    A missing or empty id has no words.
    """

    words: NDArray[np.uint64]
    places: NDArray[np.int64]

    def hashes(self) -> NDArray[np.uint64]:
        """Give a number for each id, equal for equal ids; 0 where it is missing."""
        return hashing.hashes(self.words, self.places)


def ids(*columns: pd.Series | pa.ChunkedArray) -> list[Ids]:
    """Read the bytes of columns of ids that are to be compared with each other.

    Hex ids as OpenTelemetry, Jaeger and Zipkin write them (16 or 32 digits) fill whole words and
    are used as they lie in memory; where one column has others, all are copied into words.
    """
    read = [_bytes(column) for column in columns]
    if all(_fills_words(data, offsets) for data, offsets in read):
        return [
            Ids(words=data[: offsets[-1]].view(np.uint64), places=offsets >> _WORD_SHIFT)
            for data, offsets in read
        ]
    padded = [hashing.padded(data, offsets) for data, offsets in read]
    return [Ids(words=words, places=places) for words, places in padded]


def trace_codes(column: pd.Series) -> tuple[NDArray[np.int32], int]:
    """Number the traces in order of first appearance: one code a row, and how many there are."""
    (found,) = ids(column)
    codes, count = hashing.numbered(found.words, found.places)
    return codes, count


def _bytes(column: pd.Series | pa.ChunkedArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Give a column's bytes and where each id begins in them; a missing id has none."""
    array = column if isinstance(column, pa.ChunkedArray) else pa.array(column, from_pandas=True)
    if array.type != pa.large_string():
        array = array.cast(pa.large_string())
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if array.null_count and _hides_bytes(array):
        array = pc.fill_null(array, "")
    _, offset_buffer, data_buffer = array.buffers()
    if offset_buffer is None or data_buffer is None or len(array) == 0:
        return np.zeros(0, np.uint8), np.zeros(len(array) + 1, np.int64)
    offsets = np.frombuffer(offset_buffer, np.int64)[array.offset : array.offset + len(array) + 1]
    return np.frombuffer(data_buffer, np.uint8), offsets


def _hides_bytes(array: pa.LargeStringArray) -> bool:
    """Whether a missing id has bytes below it, which Arrow allows."""
    offsets = np.frombuffer(array.buffers()[1], np.int64)
    offsets = offsets[array.offset : array.offset + len(array) + 1]
    missing = array.is_null().to_numpy(zero_copy_only=False)
    return bool(np.diff(offsets)[missing].any())


def _fills_words(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> bool:
    """Whether every id begins and ends at a whole word."""
    aligned = int(np.bitwise_or.reduce(offsets)) % _WORD_BYTES == 0
    return aligned and data.ctypes.data % _WORD_BYTES == 0
