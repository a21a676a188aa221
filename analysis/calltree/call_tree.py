"""Whose request is each span part of? The call trees that every question asks.

As recorded (``recorded_trees``), but for two things that the spans themselves prove wrong. Clocks:
where a server span lies outside its client span beyond doubt, its spans are moved by what the
calls prove (``clock_skew.shifts``). Orphans: a span whose parent was never exported and that lies
inside its request's time is a child of the deepest span there that can have called it
(``kernels.adoption``). Both are counted in ``analysis.checks.trace_quality``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.calltree import clock_skew
from analysis.calltree.recorded_trees import (
    ASKED,
    CallTrees,
    build,
    operation_codes,
    recorded_trees,
    to_rows,
)
from analysis.calltree.tree_cache import Remembered
from analysis.kernels import adoption, parents
from analysis.kernels.codes import MISSING

__all__ = ["CallTrees", "build_trees", "operation_codes", "to_rows"]

_REMEMBERED: Remembered[CallTrees] = Remembered(ASKED)


def build_trees(spans: pd.DataFrame) -> CallTrees:
    """Give the trees of a spans table of any order, index and size.

    The trees of the table that was asked about last are kept. Raises ``ColumnError`` where a
    needed column is missing or of a type that cannot be read.
    """
    found = _REMEMBERED.recall(spans)
    if found is None:
        recorded = recorded_trees(spans)
        shift = clock_skew.shifts(recorded)
        moved = recorded if shift is None else build(spans, to_rows(shift, recorded))
        found = _with_orphans(moved)
        _REMEMBERED.keep(spans, found)
    return found


def _with_orphans(call_trees: CallTrees) -> CallTrees:
    """Make orphans that lie inside their request its descendants."""
    if not (call_trees.parent == MISSING).any():
        return call_trees
    service = pd.factorize(call_trees.operations["service"])[0].astype(np.int32)
    parent, adopted = adoption.adopted(
        call_trees.begins, call_trees.queue_begins, call_trees.queue, call_trees.start,
        call_trees.end, call_trees.unfinished, call_trees.parent, call_trees.kind,
        service[call_trees.operation],
    )  # fmt: skip
    if not adopted.any():
        return call_trees
    queue, queue_begins, child_begin, child_count = parents.lay_out(parent, call_trees.begins)
    return replace(
        call_trees, parent=parent, queue=queue, queue_begins=queue_begins,
        child_begin=child_begin, child_count=child_count, adopted=adopted, known={},
    )  # fmt: skip
