"""Self times, and sums by operation: one pass over all spans each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.kernels.codes import REPEAT
from analysis.kernels.compiled import compiled


@compiled
def self_times(
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    parent: NDArray[np.int32],
    queue: NDArray[np.int32],
    child_begin: NDArray[np.int32],
    child_count: NDArray[np.int32],
) -> NDArray[np.int64]:
    """One sweep over each span's children, which lie in order of start."""
    found = np.empty(start.size, np.int64)
    for p in range(start.size):
        covered_to = start[p]
        covered = 0
        for k in range(child_begin[p], child_begin[p] + child_count[p]):
            child = queue[k]
            begin = max(start[child], covered_to)
            finish = min(end[child], end[p])
            if finish > begin:
                covered += finish - begin
                covered_to = finish
        found[p] = end[p] - start[p] - covered
    for p in range(1, start.size):  # a repeat lies behind what it repeats
        if parent[p] == REPEAT:
            found[p] = found[p - 1]
    return found


@compiled
def added(
    begins: NDArray[np.int64],
    group: NDArray[np.int64],
    groups: int,
    operation: NDArray[np.int32],
    operations: int,
    parent: NDArray[np.int32],
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    own: NDArray[np.int64],
    critical: NDArray[np.int64],
    inclusive: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Spans, self, critical and inclusive ns by group and operation.

    Roots' ns and number of traces by group.
    """
    counts = np.zeros((groups, operations, 4), np.int64)
    root_ns = np.zeros(groups, np.int64)
    requests = np.zeros(groups, np.int64)
    for trace in range(begins.size - 1):
        g = group[trace]
        requests[g] += 1
        for p in range(begins[trace], begins[trace + 1]):
            if parent[p] == REPEAT:  # a repeat is no second span
                continue
            counts[g, operation[p], 0] += 1
            counts[g, operation[p], 1] += own[p]
            counts[g, operation[p], 2] += critical[p]
            counts[g, operation[p], 3] += inclusive[p]
            if parent[p] < 0:
                root_ns[g] += end[p] - start[p]
    return counts, root_ns, requests


@compiled
def inclusive(
    operation: NDArray[np.int32],
    operations: int,
    parent: NDArray[np.int32],
    queue: NDArray[np.int32],
    child_begin: NDArray[np.int32],
    child_count: NDArray[np.int32],
    critical: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Critical ns of each span and all below it, where no span above it is of its operation.

    0 elsewhere: what an operation calls of its own kind is in the outermost already. Each tree is
    walked once, depth first; how often each operation is open on the way down is counted.
    """
    inside = critical.copy()
    found = np.zeros(parent.size, np.int64)
    open_now = np.zeros(operations, np.int32)
    entered = np.zeros(parent.size, np.int32)
    for root in range(parent.size):
        if parent[root] >= 0 or parent[root] == REPEAT:
            continue
        p = root
        open_now[operation[p]] += 1
        while p >= 0:
            if entered[p] < child_count[p]:
                entered[p] += 1
                p = queue[child_begin[p] + entered[p] - 1]
                open_now[operation[p]] += 1
                continue
            open_now[operation[p]] -= 1
            if open_now[operation[p]] == 0:
                found[p] = inside[p]
            if parent[p] >= 0:
                inside[parent[p]] += inside[p]
            p = parent[p]
    return found


@compiled
def gathered(
    queue: NDArray[np.int32], parent: NDArray[np.int32], own: NDArray[np.int64]
) -> NDArray[np.int64]:
    """What a span has of its own and all below it have, by position; children before parents."""
    found = own.copy()
    for place in range(queue.size - 1, -1, -1):
        child = queue[place]
        if parent[child] >= 0:
            found[parent[child]] += found[child]
    return found
