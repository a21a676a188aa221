"""What in these traces is not as it should be, and how much of it is there?

Nothing here is lost in silence: every awkward span is kept, treated by a rule, and counted in this
table.

Answer: issue, spans, traces, example (a trace id), treatment.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.calltree.call_tree import build_trees
from analysis.calltree.id_repair import ATTRIBUTE, repaired
from analysis.calltree.recorded_trees import CallTrees, recorded_trees, to_rows
from analysis.kernels.codes import CONSUMER, CUT, MISSING, REPEAT, SERVER

TREATMENT = {
    "repaired id": "Spelt otherwise or cut short, and plainly the same as another: brought to one "
    "spelling.",
    "caller not recorded": "The only root names a parent outside the trace, as when the "
    "client is not traced: a request like any other.",
    "adopted": "Its parent was never exported, and it lies inside its request: a child of the "
    "deepest span there that can have called it.",
    "moved clock": "Its service's clock differs from its caller's beyond doubt: moved by what the "
    "calls prove.",
    "missing parent": "A root of its own: counted, with a critical path of its own.",
    "several roots": "Each root has a critical path; shares are over all of them.",
    "repeated span": "Delivered twice with the same content: counted once.",
    "shared span id": "The earliest has the children; of a call's two sides, the server's.",
    "cycle": "Cut at its earliest span, which becomes a root.",
    "unfinished span": "No duration, or none that can be: counted, its time unknown and taken as "
    "0; what it called keeps its self time and is on no path.",
    "no times": "Neither start nor duration, or an end alone: counted, without time.",
    "outside its parent": "Clipped to the parent; wholly outside, it is not on the critical path.",
    "zero duration": "Counted, without time.",
}
"""Each issue and what is done about it."""


def issues(spans: pd.DataFrame) -> pd.DataFrame:
    """Count every kind of awkward span, with an example of each: the earliest.

    Kinds that do not occur are left out.
    """
    return together([counted(spans)])


def counted(spans: pd.DataFrame) -> pd.DataFrame:
    """Count the issues of one partition of the traces: issue, spans, traces, start_ns, example.

    ``start_ns`` is the example's.
    """
    call_trees = recorded_trees(spans)
    trace_ids = spans["trace_id"]
    rows: list[tuple[object, ...]] = []
    said = spans.attrs.get(ATTRIBUTE) or repaired(spans).attrs.get(ATTRIBUTE)
    if said:
        told = (said[name] for name in ("spans", "traces", "start_ns", "example"))
        rows.append(("repaired id", *told))
    for issue, where in _found(call_trees, *_mended(spans, call_trees)).items():
        positions = np.flatnonzero(where)
        if positions.size == 0:
            continue
        traces = np.unique(np.searchsorted(call_trees.begins, positions, side="right") - 1)
        starts = call_trees.start[positions]
        earliest = positions[starts == starts.min()]
        example = trace_ids.iloc[call_trees.order[earliest]].min()
        rows.append((issue, positions.size, traces.size, starts.min(), example))
    return pd.DataFrame(rows, columns=["issue", "spans", "traces", "start_ns", "example"])


def together(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Make the table of issues from what ``counted`` gives of one or many partitions."""
    found = pd.concat(list(parts), ignore_index=True).sort_values(["start_ns", "example"])
    sums = {
        "spans": ("spans", "sum"),
        "traces": ("traces", "sum"),
        "example": ("example", "first"),
    }
    table = found.groupby("issue", as_index=False).agg(**sums)
    table["treatment"] = table["issue"].map(TREATMENT)
    places = {issue: place for place, issue in enumerate(TREATMENT)}
    return table.sort_values("issue", key=lambda issues: issues.map(places), ignore_index=True)


def _mended(
    spans: pd.DataFrame, recorded: CallTrees
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether the span at each position of the trees as recorded was adopted; was moved."""
    call_trees = build_trees(spans)
    found = []
    for values in (call_trees.adopted, call_trees.shift):
        if values is None:
            found.append(np.zeros(recorded.parent.size, np.bool_))
        else:
            found.append(to_rows(values != 0, call_trees)[recorded.order].astype(np.bool_))
    return found[0], found[1]


def _found(
    call_trees: CallTrees, adopted: NDArray[np.bool_], moved: NDArray[np.bool_]
) -> dict[str, NDArray[np.bool_]]:
    """Give each issue's positions."""
    roots = call_trees.is_root & ~adopted
    trace = np.repeat(np.arange(call_trees.begins.size - 1), np.diff(call_trees.begins))
    per_trace = np.bincount(trace[roots], minlength=call_trees.begins.size - 1)
    several = roots & (per_trace[trace] > 1)
    serves = np.isin(call_trees.kind, (SERVER, CONSUMER))
    entry = roots & (call_trees.parent == MISSING) & ~several & serves
    child = call_trees.parent >= 0
    above = np.where(child, call_trees.parent, 0)
    outside = child & (
        (call_trees.start < call_trees.start[above]) | (call_trees.end > call_trees.end[above])
    ) if call_trees.start.size else child  # fmt: skip
    return {
        "caller not recorded": entry,
        "adopted": adopted,
        "moved clock": moved,
        "missing parent": roots & (call_trees.parent == MISSING) & ~entry,
        "several roots": several,
        "repeated span": call_trees.parent == REPEAT,
        "shared span id": call_trees.shares_id,
        "cycle": call_trees.parent == CUT,
        "unfinished span": call_trees.unfinished & (call_trees.start != 0),
        "no times": call_trees.unfinished & (call_trees.start == 0),
        "outside its parent": outside,
        "zero duration": (call_trees.end == call_trees.start) & ~call_trees.unfinished,
    }
