"""Ids as bytes: their hashes, and which of them are equal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.kernels.compiled import compiled

_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)
"""FNV-1a, 64 bit: Fowler, Noll, Vo; constants of draft-eastlake-fnv, section 5."""


@compiled
def hashes(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], missing: NDArray[np.bool_]
) -> NDArray[np.uint64]:
    """FNV-1a over each id's bytes, finished so that the low bits spread.

    0 is kept for 'missing'.
    """
    found = np.zeros(missing.size, np.uint64)
    for i in range(missing.size):
        if missing[i] or offsets[i + 1] == offsets[i]:
            continue
        value = _FNV_OFFSET
        for k in range(offsets[i], offsets[i + 1]):
            value = (value ^ np.uint64(data[k])) * _FNV_PRIME
        value ^= value >> np.uint64(32)
        found[i] = value if value != np.uint64(0) else np.uint64(1)
    return found


@compiled
def same_bytes(
    a: NDArray[np.uint8], a_from: int, a_to: int, b: NDArray[np.uint8], b_from: int, b_to: int
) -> bool:
    """Whether two runs of bytes are equal."""
    if a_to - a_from != b_to - b_from:
        return False
    for k in range(a_to - a_from):
        if a[a_from + k] != b[b_from + k]:
            return False
    return True


@compiled
def numbered(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], hashes: NDArray[np.uint64]
) -> tuple[NDArray[np.int32], int]:
    """Number the traces in order of first appearance: one code a row, and how many there are.

    Rows without a trace id share one code: nothing tells them apart.
    """
    n = hashes.size
    codes = np.empty(n, np.int32)
    size = 1024
    table = np.full(size, -1, np.int32)
    firsts = np.empty(512, np.int32)
    count = 0
    for i in range(n):
        if (
            i > 0
            and hashes[i] == hashes[i - 1]
            and same_bytes(data, offsets[i], offsets[i + 1], data, offsets[i - 1], offsets[i])
        ):
            codes[i] = codes[i - 1]
            continue
        slot = np.int64(hashes[i] & np.uint64(size - 1))
        while table[slot] >= 0:
            first = firsts[table[slot]]
            if hashes[first] == hashes[i] and same_bytes(
                data, offsets[i], offsets[i + 1], data, offsets[first], offsets[first + 1]
            ):
                break
            slot = (slot + 1) & (size - 1)
        if table[slot] >= 0:
            codes[i] = table[slot]
            continue
        table[slot] = count
        firsts[count] = i
        codes[i] = count
        count += 1
        if 2 * count >= size:
            size, table, firsts = _grown(size, count, firsts, hashes)
    return codes, count


@compiled
def _grown(
    size: int, count: int, firsts: NDArray[np.int32], hashes: NDArray[np.uint64]
) -> tuple[int, NDArray[np.int32], NDArray[np.int32]]:
    """Four times the room, every trace put in its new place."""
    size *= 4
    table = np.full(size, -1, np.int32)
    kept = np.empty(size // 2, np.int32)
    kept[:count] = firsts[:count]
    for code in range(count):
        slot = np.int64(hashes[firsts[code]] & np.uint64(size - 1))
        while table[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        table[slot] = code
    return size, table, kept
