"""What if an operation were faster? New mean and percentiles, replayed request by request.

Each trace is replayed along its happens-before order: a child began when everything that had
ended before it had ended, and its parent had worked for as long as it did in between; a span ends
when its children have and its last own work is done. Shortening one operation then moves what
waited for it, up to where something parallel takes over. That is why the gain can be less than the
ceiling (Amdahl: the share times the speed-up), never more.

Answer: statistic (mean, p50, p90, p95, p99), before_ms, after_ms, gain_ms, gain (relative),
ceiling (relative; for the mean only). ``attrs``: requests, changed (requests that became faster).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.calltree.call_tree import build_trees
from analysis.critical_path import critical_times
from analysis.errors import AnalysisError, NotEnoughDataError
from analysis.kernels import replay, walks

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_NS_PER_MS = 1e6


def what_if(
    spans: pd.DataFrame, name: str, *, service: str | None = None, faster: float = 0.5
) -> pd.DataFrame:
    """Replay all traces with an operation's own work shortened by ``faster`` (0.5: half; 1: none).

    What is shortened is the operation's self time and, for an operation that calls nothing, all of
    it. Raises ``AnalysisError`` for an unknown operation or a ``faster`` outside 0 to 1.
    """
    if not 0 <= faster <= 1:
        raise AnalysisError(f"faster is a part of the time, from 0 to 1; {faster} was asked for.")
    call_trees = build_trees(spans)
    chosen = call_trees.operations["name"] == name
    if service is not None:
        chosen &= call_trees.operations["service"] == service
    if not chosen.any():
        known = ", ".join(call_trees.operations["name"].unique()[:8])
        raise AnalysisError(f"No operation is called {name}; there are {known}.")
    crisp = False
    start, end, alive = walks.clip(
        call_trees.start,
        call_trees.end,
        call_trees.parent,
        call_trees.queue,
        call_trees.kind,
        call_trees.follows,
        crisp,
    )
    factor = np.where(chosen.to_numpy(dtype=bool), 1.0 - faster, 1.0)[call_trees.operation]
    after = replay.durations(
        start, end, alive, factor, call_trees.queue, call_trees.child_begin, call_trees.child_count
    )
    roots = call_trees.is_root & (call_trees.end > call_trees.start)
    if not roots.any():
        raise NotEnoughDataError("No request has a duration; a replay needs finished requests.")
    critical = critical_times(call_trees, "inclusive")
    of_operation = critical[chosen.to_numpy(dtype=bool)[call_trees.operation]].sum()
    before = (call_trees.end - call_trees.start)[roots] / _NS_PER_MS
    now = after[roots] / _NS_PER_MS
    table = _compared(before, now)
    table["ceiling"] = np.nan
    table.loc[table["statistic"] == "mean", "ceiling"] = (
        faster * of_operation / _NS_PER_MS / before.sum()
    )
    table.attrs.update(requests=int(roots.sum()), changed=int((now < before).sum()))
    return table


def _compared(before: np.ndarray, after: np.ndarray) -> pd.DataFrame:
    rows = [("mean", before.mean(), after.mean())]
    rows += [
        (name, float(np.quantile(before, q)), float(np.quantile(after, q)))
        for name, q in PERCENTILES.items()
    ]
    table = pd.DataFrame(rows, columns=["statistic", "before_ms", "after_ms"])
    table["gain_ms"] = table["before_ms"] - table["after_ms"]
    table["gain"] = table["gain_ms"] / table["before_ms"]
    return table
