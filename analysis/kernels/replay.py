"""New durations of all spans when some of them work faster, children first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.kernels.compiled import compiled


@compiled
def durations(
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    alive: NDArray[np.bool_],
    factor: NDArray[np.float64],
    queue: NDArray[np.int32],
    child_begin: NDArray[np.int32],
    child_count: NDArray[np.int32],
) -> NDArray[np.float64]:
    """Replay each span's timeline with its children's new durations; ns by position.

    Times are clipped to the parent's. The span's own work, between two events of its children, is
    multiplied by its factor. A child begins as long after the latest new end as before.
    """
    new = np.zeros(start.size)
    largest = child_count.max() if child_count.size else 0
    begins = np.empty(largest)
    ends = np.empty(largest, np.int64)
    for k in range(queue.size - 1, -1, -1):
        p = queue[k]
        first, count = child_begin[p], child_count[p]
        for i in range(count):
            ends[i] = end[queue[first + i]]
        by_end = (
            np.argsort(ends[:count], kind="mergesort") if count > 1 else np.zeros(count, np.int64)
        )
        was, now, ended = start[p], 0.0, 0  # the latest end so far: as it was, and as it is now
        for i in range(count):
            child = queue[first + i]
            if not alive[child]:
                continue
            while ended < count and ends[by_end[ended]] <= start[child]:
                j = by_end[ended]
                if j >= i:  # begins and ends at this moment: not yet begun
                    break
                ended += 1
                if alive[queue[first + j]]:
                    was = max(was, ends[j])
                    now = max(now, begins[j] + new[queue[first + j]])
            begins[i] = now + (start[child] - was) * factor[p]
        while ended < count:
            j = by_end[ended]
            ended += 1
            if alive[queue[first + j]]:
                was = max(was, ends[j])
                now = max(now, begins[j] + new[queue[first + j]])
        new[p] = now + (end[p] - was) * factor[p]
    return new
