"""What does one request look like? Its spans as a tree: the typical, the slowest, or any request.

Answer: depth, trace_id, span_id, service, name, kind, status, start_ms (after the first root's
start), duration_ms, self_ms, critical_ms, note.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import self_time
from analysis.calltree.call_tree import Forest, plant
from analysis.critical_path import Rules, critical_times
from analysis.errors import InputError
from analysis.kernels import distances, trees
from analysis.kernels.codes import CUT, MISSING, REPEAT

Which = Literal["typical", "slowest"]

_NS_PER_MS = 1e6
_NOTES = {
    MISSING: "its parent is not in the trace",
    CUT: "was its own ancestor; cut here",
    REPEAT: "delivered twice",
}


def waterfall(spans: pd.DataFrame, trace_id: str, rules: Rules = "jaeger") -> pd.DataFrame:
    """Lay out one trace: every span after its parent, siblings in order of start.

    ``trace_id`` may be the beginning of an id, if only one begins so. Raises ``InputError`` where
    no or several traces fit.
    """
    rows = spans[spans["trace_id"] == one_trace(spans, trace_id)]
    forest = plant(rows)
    critical = critical_times(forest, rules)
    order, depth = trees.preorder(
        forest.parent, forest.queue, forest.child_begin, forest.child_count
    )
    taken = rows.iloc[forest.order[order]].reset_index(drop=True)
    table = pd.DataFrame({"depth": depth})
    for name in ("trace_id", "span_id", "service", "name", "kind", "status"):
        table[name] = taken[name] if name in taken.columns else pd.NA
    table["start_ms"] = (forest.start[order] - forest.start[forest.queue[0]]) / _NS_PER_MS
    duration = (forest.end - forest.start)[order] / _NS_PER_MS
    table["duration_ms"] = np.where(forest.unfinished[order], np.nan, duration)
    table["self_ms"] = self_time.by_position(forest)[order] / _NS_PER_MS
    table["critical_ms"] = critical[order] / _NS_PER_MS
    table["note"] = _notes(forest, order)
    return table


def one_trace(spans: pd.DataFrame, trace_id: str) -> str:
    """Give the one trace id that begins with what was asked for."""
    wanted = trace_id.lower()
    known = pd.Series(spans["trace_id"].dropna().unique(), dtype="str")
    lowered = known.str.lower()
    exact = lowered == wanted
    found = known[exact if exact.any() else lowered.str.startswith(wanted)].tolist()
    if len(found) == 1:
        return str(found[0])
    if len(found) == 0:
        raise InputError(
            f"No trace begins with {trace_id}; there are {len(known)}, "
            f"such as {known.iloc[0] if len(known) else 'none'}."
        )
    raise InputError(
        f"{len(found)} traces begin with {trace_id}: {', '.join(found[:3])}; name more of the id."
    )


def choose(spans: pd.DataFrame, which: Which = "typical") -> str:
    """Give the id of the slowest trace, or of the typical one.

    Typical is the medoid: the trace whose critical path, as milliseconds by operation, has the
    least total distance (sum of absolute differences) to those of all other traces. Raises
    ``InputError`` where there is no trace.
    """
    if spans.empty:
        raise InputError("There are no spans; no request can be shown.")
    forest = plant(spans)
    trace = np.repeat(np.arange(forest.begins.size - 1), np.diff(forest.begins))
    if which == "slowest":
        lasting = np.where(forest.is_root, forest.end - forest.start, -1)
        place = int(trace[np.argmax(lasting)])
    else:
        place = _medoid(forest, trace)
    return str(spans["trace_id"].iloc[forest.order[forest.begins[place]]])


def _medoid(forest: Forest, trace: NDArray[np.int64]) -> int:
    """Find the trace of least total distance to all others; of several, the earliest to start."""
    critical = critical_times(forest, "jaeger")
    distance = np.zeros(forest.begins.size - 1)
    by_operation = np.argsort(forest.operation, kind="stable")
    ends = np.cumsum(np.bincount(forest.operation, minlength=len(forest.operations)))
    for begin, end in zip(np.r_[0, ends[:-1]], ends, strict=True):
        places = by_operation[begin:end]
        spent = np.bincount(trace[places], weights=critical[places], minlength=distance.size)
        distances.add_to_all_others(
            distance, spent.astype(np.float64), np.argsort(spent, kind="stable")
        )
    starts = forest.start[forest.begins[:-1]]
    return int(np.lexsort((starts, distance))[0])


def _notes(forest: Forest, order: NDArray[np.int64]) -> list[str]:
    notes = []
    for p in order:
        words = [_NOTES.get(int(forest.parent[p]), "")]
        if forest.unfinished[p]:
            words.append("did not end")
        notes.append("; ".join(word for word in words if word))
    return notes
