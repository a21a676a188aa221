"""How long did each span work itself, without waiting for what it called?

Duration minus the union of the direct children's intervals clipped to the span, never below 0: Jaeger UI's rule
(``compute-span-self-time.ts``). A span whose duration is missing has no known time: 0, and it is counted in
``analysis.doubts``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.compiled import compiled
from analysis.forest import Forest, plant, to_rows


def self_time(spans: pd.DataFrame) -> pd.Series[int]:
    """Give each span's self time in ns (int64), with the index of ``spans``.

    A repeat of a span delivered twice has the self time of the first. Raises ``ColumnError`` for a table that is not spans.
    """
    forest = plant(spans)
    return pd.Series(to_rows(by_position(forest), forest), index=spans.index, name="self_ns")


def by_position(forest: Forest) -> NDArray[np.int64]:
    """Self time in ns by position of the forest."""
    return _self_times(
        forest.start,
        forest.end,
        forest.parent,
        forest.queue,
        forest.child_begin,
        forest.child_count,
    )


@compiled
def _self_times(
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
    for p in range(1, start.size):  # a repeat follows the span that it repeats
        if parent[p] == -4:
            found[p] = found[p - 1]
    return found
