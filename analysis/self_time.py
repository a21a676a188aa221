"""How long did each span work itself, without waiting for what it called?

Duration minus the union of the direct children's intervals clipped to the span, never below 0:
Jaeger UI's rule (``compute-span-self-time.ts``), of the spans as recorded: clocks are not mended,
and a child is what names the span as its parent. A span whose duration is missing has no known
time: 0, and it is counted in ``analysis.checks.trace_quality``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.calltree.recorded_trees import CallTrees, recorded_trees, to_rows
from analysis.kernels import sums


def self_time(spans: pd.DataFrame) -> pd.Series[int]:
    """Give each span's self time in ns (int64), with the index of ``spans``.

    A repeat of a span delivered twice has the self time of the first. Raises ``ColumnError`` for a
    table that is not spans.
    """
    call_trees = recorded_trees(spans)
    return pd.Series(
        to_rows(by_position(call_trees), call_trees), index=spans.index, name="self_ns"
    )


def by_position(call_trees: CallTrees) -> NDArray[np.int64]:
    """Self time in ns by position of the call_trees."""
    if "self" not in call_trees.known:
        call_trees.known["self"] = sums.self_times(
            call_trees.start,
            call_trees.end,
            call_trees.parent,
            call_trees.queue,
            call_trees.child_begin,
            call_trees.child_count,
        )
    return call_trees.known["self"]
