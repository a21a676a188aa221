"""Which rows belong to one trace, and which row is whose parent: ids of any form, exactly.

Ids are read where they lie, in Arrow's buffers; no Python string is made. Two ids are equal when
their bytes are: a hash only says where to look.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.kernels import hashing

_WORD_BYTES = 8
_WORD_SHIFT = 3
_AROUND = 4
"""Rows that jump between chunks are looked through once a chunk; beyond so many times as many rows
Arrow finds them faster.
"""


def span_keys(
    span: pd.Series, parent: pd.Series
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.bool_]]:
    """Give each span id and each parent id as a number, and whether there is a parent id.

    Numbers are equal exactly where ids are. Ids of 16 hex digits, OpenTelemetry's, are the numbers
    that they spell; others are hashed, or numbered should two hashes be equal. A missing span id
    is like no id that is given, also not like sixteen zeros.
    """
    own, named = _hex_keys(span)
    above, given = _hex_keys(parent)
    if own is not None and above is not None and named.all():
        return own, above, given
    words, places = _words(pa.chunked_array([*_chunked(span).chunks, *_chunked(parent).chunks]))
    codes, count = hashing.numbered(words, places)
    keys = hashing.hashes(words, places)
    if np.unique(keys).size != count:
        keys = codes.astype(np.uint64)
    return keys[: len(span)], keys[len(span) :], np.diff(places)[len(span) :] > 0


def trace_codes(column: pd.Series) -> tuple[NDArray[np.int32], int]:
    """Number the traces in order of first appearance: one code a row, and how many there are."""
    chunks = _chunked(column)
    width, held = _equal_words(chunks)
    if width:
        codes, known = np.empty(len(chunks), np.int32), hashing.nothing_known(width)
        begin = 0
        for words in held:
            end = begin + words.size // width
            known = hashing.number_on(words, width, codes[begin:end], *known)
            begin = end
        return codes, int(known[-1])
    codes, count = hashing.numbered(*_words(chunks))
    return codes, count


def ids_at(column: pd.Series[str], rows: NDArray[np.int32]) -> pd.Series[str]:
    """Give the ids of these rows, in their order and of the column's type."""
    chunks = _chunked(column)
    width, held = _equal_words(chunks)
    bounds = np.cumsum([0, *(words.size // max(width, 1) for words in held)])
    first, last = hashing.reach(rows, bounds)
    if not width or (last - first).sum() > _AROUND * rows.size:
        return pd.Series(chunks.take(pa.array(rows)).to_pandas(), dtype=column.dtype)
    found = np.empty(rows.size * width, np.uint64)
    for words, begin, low, high in zip(held, bounds[:-1], first, last, strict=True):
        hashing.taken(words, width, rows[low:high], begin, found[low * width : high * width])
    size = width * _WORD_BYTES
    places = np.arange(0, (rows.size + 1) * size, size, dtype=np.int64)
    array = pa.LargeStringArray.from_buffers(rows.size, pa.py_buffer(places), pa.py_buffer(found))
    return pd.Series(array.to_pandas(), dtype=column.dtype)


def trace_hashes(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    """Give a number for each trace id, equal for equal ids, the same in every batch of a run."""
    hashes: NDArray[np.uint64] = hashing.hashes(*_words(column, pad=True))
    return hashes


def _chunked(column: pd.Series) -> pa.ChunkedArray:
    array = pa.array(column, from_pandas=True)
    array = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
    return array if array.type == pa.large_string() else array.cast(pa.large_string())


def _hex_keys(column: pd.Series) -> tuple[NDArray[np.uint64] | None, NDArray[np.bool_]]:
    """Read a column chunk by chunk, without bringing it together in memory; None: not all hex."""
    chunks = _chunked(column)
    keys, given = np.empty(len(chunks), np.uint64), np.empty(len(chunks), np.bool_)
    begin = 0
    for chunk in chunks.chunks:
        end = begin + len(chunk)
        data, offsets = _bytes(chunk)
        if not _fills_words(data, offsets):
            return None, given
        words = data[: offsets[-1]].view(np.uint64)
        if not hashing.hex_keys(words, offsets >> _WORD_SHIFT, keys[begin:end], given[begin:end]):
            return None, given
        begin = end
    return keys, given


def _equal_words(column: pa.ChunkedArray) -> tuple[int, list[NDArray[np.uint64]]]:
    """Words of an id and each chunk's words, as they lie, where all ids are equally long; or 0."""
    width, held = 0, []
    for chunk in column.chunks:
        if len(chunk) == 0:
            continue
        data, offsets = _bytes(chunk)
        long = int(offsets[1] - offsets[0])
        width = width or long
        fills = long == width > 0 and not chunk.null_count and _fills_words(data, offsets)
        if not fills or not hashing.is_even(offsets, width):
            return 0, []
        held.append(data[offsets[0] : offsets[-1]].view(np.uint64))
    return width // _WORD_BYTES, held


def _words(
    column: pa.ChunkedArray, *, pad: bool = False
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Give a column's ids as words of eight bytes: row i is ``words[places[i]:places[i + 1]]``.

    A missing or empty id has no words. Ids of 16 or 32 characters fill words and are used as they
    lie in memory, unless ``pad``; others are copied, each after its length.
    """
    data, offsets = _bytes(column.combine_chunks())
    if not pad and _fills_words(data, offsets):
        return data[: offsets[-1]].view(np.uint64), offsets >> _WORD_SHIFT
    words, places = hashing.padded(data, offsets)
    return words, places


def _bytes(array: pa.LargeStringArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Give a column's bytes and where each id begins in them; a missing id has none."""
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
