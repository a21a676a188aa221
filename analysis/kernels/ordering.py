"""How the rows of many traces are put in one canonical order.

By trace, then by start, longest first, operation, id, kind, parent. Whatever two spans differ in
decides which is first, so that the order of rows changes nothing, and spans of equal content lie
side by side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.kernels.compiled import compiled

_RUN = 16
"""Runs this short are sorted by insertion: below it, merging costs more than it saves."""


@compiled
def by_trace(codes: NDArray[np.int32], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Group rows by trace.

    Where each trace begins (count + 1 places), and the rows in that order, as they came.
    """
    begins = np.zeros(count + 1, np.int64)
    for code in codes:
        begins[code + 1] += 1
    for trace in range(count):
        begins[trace + 1] += begins[trace]
    filled = begins[:-1].copy()
    order = np.empty(codes.size, np.int64)
    for row in range(codes.size):
        order[filled[codes[row]]] = row
        filled[codes[row]] += 1
    return begins, order


@compiled
def largest_trace(begins: NDArray[np.int64]) -> int:
    """Give the number of spans of the trace that has most; 0 where there is none."""
    largest = 0
    for trace in range(begins.size - 1):
        largest = max(largest, begins[trace + 1] - begins[trace])
    return largest


@compiled
def _before(
    a: int, b: int,
    start: NDArray[np.int64], duration: NDArray[np.int64], operation: NDArray[np.int32],
    key: NDArray[np.uint64], kind: NDArray[np.int8],
    parent_key: NDArray[np.uint64], has_parent: NDArray[np.bool_],
) -> bool:  # fmt: skip
    """Whether row a comes before row b in the canonical order."""
    if start[a] != start[b]:
        return bool(start[a] < start[b])
    if duration[a] != duration[b]:
        return bool(duration[a] > duration[b])
    if operation[a] != operation[b]:
        return bool(operation[a] < operation[b])
    if key[a] != key[b]:
        return bool(key[a] < key[b])
    return _before_of_one_id(a, b, kind, parent_key, has_parent)


@compiled
def _before_of_one_id(
    a: int, b: int, kind: NDArray[np.int8],
    parent_key: NDArray[np.uint64], has_parent: NDArray[np.bool_],
) -> bool:  # fmt: skip
    """Whether a comes before b where all is equal up to the id: of a call, the client's side."""
    if kind[a] != kind[b]:
        return bool(kind[a] > kind[b])
    if has_parent[a] != has_parent[b]:
        return bool(has_parent[b])
    return bool(parent_key[a] < parent_key[b])


@compiled
def sort_traces(
    order: NDArray[np.int64],
    begins: NDArray[np.int64],
    start: NDArray[np.int64],
    duration: NDArray[np.int64],
    operation: NDArray[np.int32],
    key: NDArray[np.uint64],
    kind: NDArray[np.int8],
    parent_key: NDArray[np.uint64],
    has_parent: NDArray[np.bool_],
) -> None:
    """Sort ``order`` within each trace, in place and stably; all else is by row."""
    spare = np.empty(largest_trace(begins), np.int64)
    for trace in range(begins.size - 1):
        low, high = begins[trace], begins[trace + 1]
        _sort(
            order, spare, low, high,
            start, duration, operation, key, kind, parent_key, has_parent,
        )  # fmt: skip


@compiled
def _sort(
    order: NDArray[np.int64], spare: NDArray[np.int64], low: int, high: int,
    start: NDArray[np.int64], duration: NDArray[np.int64], operation: NDArray[np.int32],
    key: NDArray[np.uint64], kind: NDArray[np.int8],
    parent_key: NDArray[np.uint64], has_parent: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Merge sort from short sorted runs upwards: n log n whatever the order, no recursion."""
    for begin in range(low, high, _RUN):
        for i in range(begin + 1, min(begin + _RUN, high)):
            row = order[i]
            j = i - 1
            while j >= begin and _before(
                row, order[j], start, duration, operation, key, kind, parent_key, has_parent
            ):
                order[j + 1] = order[j]
                j -= 1
            order[j + 1] = row
    width = _RUN
    while width < high - low:
        for begin in range(low, high - width, 2 * width):
            middle, end = begin + width, min(begin + 2 * width, high)
            spare[: middle - begin] = order[begin:middle]
            i, j, k = 0, middle, begin
            while i < middle - begin:
                if j < end and _before(
                    order[j], spare[i],
                    start, duration, operation, key, kind, parent_key, has_parent,
                ):  # fmt: skip
                    order[k] = order[j]
                    j += 1
                else:
                    order[k] = spare[i]
                    i += 1
                k += 1
        width *= 2


@compiled
def is_plain(order: NDArray[np.int64]) -> bool:
    """Whether the order is that of the rows, as in most recorded files."""
    for p in range(order.size):
        if order[p] != p:
            return False
    return True
