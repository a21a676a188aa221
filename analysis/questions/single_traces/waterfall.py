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
from analysis.calltree import network
from analysis.calltree.call_tree import CallTrees, build_trees
from analysis.calltree.roots import spans_of
from analysis.critical_path import Rules, critical_times
from analysis.errors import InputError
from analysis.kernels import distances, trees
from analysis.kernels.codes import CUT, MISSING, REPEAT
from analysis.questions.root_operations import root_operations

Which = Literal["typical", "slowest"]

_NS_PER_MS = 1e6
_NOTES = {
    MISSING: "its parent is not in the trace",
    CUT: "was its own ancestor; cut here",
    REPEAT: "delivered twice",
}


def waterfall(spans: pd.DataFrame, trace_id: str, rules: Rules = "inclusive") -> pd.DataFrame:
    """Lay out one trace: every span after its parent, siblings in order of start.

    ``trace_id`` may be the beginning of an id, if only one begins so. Raises ``InputError`` where
    no or several traces fit.
    """
    rows = spans[spans["trace_id"] == one_trace(spans, trace_id)]
    call_trees = build_trees(rows)
    critical = critical_times(call_trees, rules)
    order, depth = trees.preorder(
        call_trees.parent, call_trees.queue, call_trees.child_begin, call_trees.child_count
    )
    taken = rows.iloc[call_trees.order[order]].reset_index(drop=True)
    table = pd.DataFrame({"depth": depth})
    for name in ("trace_id", "span_id", "service", "name", "kind", "status"):
        table[name] = taken[name] if name in taken.columns else pd.NA
    table["start_ms"] = (
        call_trees.start[order] - call_trees.start[call_trees.queue[0]]
    ) / _NS_PER_MS
    duration = (call_trees.end - call_trees.start)[order] / _NS_PER_MS
    table["duration_ms"] = np.where(call_trees.unfinished[order], np.nan, duration)
    table["self_ms"] = self_time.by_position(call_trees)[order] / _NS_PER_MS
    table["critical_ms"] = critical[order] / _NS_PER_MS
    table["note"] = _notes(call_trees, order)
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
    """Give the id of the slowest trace, or of the typical one, of the main root operation.

    Typical is the medoid: the trace whose critical path, as milliseconds by operation, has the
    least total distance (sum of absolute differences) to those of all other traces. Raises
    ``InputError`` where there is no trace.
    """
    if spans.empty:
        raise InputError("There are no spans; no request can be shown.")
    call_trees = build_trees(spans)
    main = str(root_operations(spans, call_trees)["root"].iloc[0])
    return _chosen(spans_of(main, spans, call_trees), which)


def choose_by_root(spans: pd.DataFrame, which: Which = "typical") -> dict[str, str]:
    """Give one such trace of each root operation, the main one first."""
    if spans.empty:
        raise InputError("There are no spans; no request can be shown.")
    call_trees = build_trees(spans)
    roots = root_operations(spans, call_trees)["root"]
    return {root: _chosen(spans_of(root, spans, call_trees), which) for root in roots}


def _chosen(spans: pd.DataFrame, which: Which) -> str:
    call_trees = build_trees(spans)
    trace = np.repeat(np.arange(call_trees.begins.size - 1), np.diff(call_trees.begins))
    if which == "slowest":
        lasting = np.where(call_trees.is_root, call_trees.end - call_trees.start, -1)
        place = int(trace[np.argmax(lasting)])
    else:
        place = _medoid(call_trees, trace)
    return str(spans["trace_id"].iloc[call_trees.order[call_trees.begins[place]]])


def _medoid(call_trees: CallTrees, trace: NDArray[np.int64]) -> int:
    """Find the trace of least total distance to all others; of several, the earliest to start."""
    critical = critical_times(call_trees, "inclusive")
    distance = np.zeros(call_trees.begins.size - 1)
    by_operation = np.argsort(call_trees.operation, kind="stable")
    ends = np.cumsum(np.bincount(call_trees.operation, minlength=len(call_trees.operations)))
    for begin, end in zip(np.r_[0, ends[:-1]], ends, strict=True):
        places = by_operation[begin:end]
        spent = np.bincount(trace[places], weights=critical[places], minlength=distance.size)
        distances.add_to_all_others(
            distance, spent.astype(np.float64), np.argsort(spent, kind="stable")
        )
    starts = call_trees.start[call_trees.begins[:-1]]
    return int(np.lexsort((starts, distance))[0])


def _notes(call_trees: CallTrees, order: NDArray[np.int64]) -> list[str]:
    notes = []
    between = network.by_position(call_trees)
    for p in order:
        words = [_NOTES.get(int(call_trees.parent[p]), "")]
        if call_trees.adopted is not None and call_trees.adopted[p]:
            words.append("its parent was never exported; put where it lies")
        if call_trees.shift is not None and call_trees.shift[p]:
            words.append(
                f"moved by {-call_trees.shift[p] / _NS_PER_MS:+.1f} ms: its clock differs"
            )
        if between[p]:
            words.append(f"network and queue {between[p] / _NS_PER_MS:.1f} ms")
        if call_trees.unfinished[p]:
            words.append("did not end")
        notes.append("; ".join(word for word in words if word))
    return notes
