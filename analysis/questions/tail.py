"""Which operation makes the slow requests slow, and how much of the difference does it explain?

Slow are the requests at or above a quantile of duration; they are held against those at or below
the median. What an operation explains is the difference of its mean critical time between the two,
over the whole difference: the parts add up to 1.

Answer: service, name, typical_ms, slow_ms, difference_ms, explains, typical_calls, slow_calls
(spans per request). ``attrs``: slow_requests, typical_requests, slow_from_ms, typical_up_to_ms.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.calltree.call_tree import build_trees
from analysis.critical_path import Rules, critical_times
from analysis.errors import AnalysisError, NotEnoughDataError
from analysis.kernels.codes import REPEAT

MIN_SLOW = 5
"""Fewer slow requests than this are single cases: look at their waterfalls instead."""
_MEDIAN = 0.5
_NS_PER_MS = 1e6


def tail(spans: pd.DataFrame, quantile: float = 0.95, rules: Rules = "inclusive") -> pd.DataFrame:
    """Explain the slow requests, the operation that explains most first.

    Raises ``NotEnoughDataError`` where fewer than ``MIN_SLOW`` requests are slow.
    """
    if not _MEDIAN < quantile < 1:
        raise AnalysisError(f"A quantile between 0.5 and 1 tells slow requests, not {quantile}.")
    call_trees = build_trees(spans)
    critical = critical_times(call_trees, rules)
    count = call_trees.begins.size - 1
    trace = np.repeat(np.arange(count), np.diff(call_trees.begins))
    whole = np.bincount(trace, weights=critical, minlength=count)
    needed = int(np.ceil(MIN_SLOW / (1 - quantile) - 1e-9))
    if count < needed:
        raise NotEnoughDataError(
            f"{count} requests have fewer than {MIN_SLOW} above their {quantile:.0%} quantile; "
            f"{needed} or more are needed, or a lower quantile."
        )
    limits = np.quantile(whole, [_MEDIAN, quantile])
    table = call_trees.operations.copy()
    for name, chosen in (("typical", whole <= limits[0]), ("slow", whole >= limits[1])):
        inside = chosen[trace] & (call_trees.parent != REPEAT)
        size = len(table)
        spent = np.bincount(call_trees.operation[inside], weights=critical[inside], minlength=size)
        table[f"{name}_ms"] = spent / chosen.sum() / _NS_PER_MS
        calls = np.bincount(call_trees.operation[inside], minlength=size)
        table[f"{name}_calls"] = calls / chosen.sum()
        table.attrs[f"{name}_requests"] = int(chosen.sum())
    table["difference_ms"] = table["slow_ms"] - table["typical_ms"]
    difference = table["difference_ms"].sum()
    table["explains"] = table["difference_ms"] / difference if difference > 0 else np.nan
    table.attrs["slow_from_ms"] = float(limits[1] / _NS_PER_MS)
    table.attrs["typical_up_to_ms"] = float(limits[0] / _NS_PER_MS)
    columns = [
        "service", "name", "typical_ms", "slow_ms", "difference_ms", "explains",
        "typical_calls", "slow_calls",
    ]  # fmt: skip
    return table[columns].sort_values(
        "difference_ms", ascending=False, ignore_index=True, kind="stable"
    )
