"""Which statement does one request repeat? The N+1 pattern: one query a row of another's result.

Logical queries and cache calls count; ``connect`` and cursor fetches do not.

Answer: call, service, caller (the operation above), db_system, statement, requests (that repeat
it), share_of_requests, mean_repeats, max_repeats, total_ms (mean a request that repeats it),
one_after_the_other (share of repeats that began after the one before had ended), example (a trace
id).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.calls.classify import callers
from analysis.calls.classify import calls as all_calls
from analysis.calltree.identity import trace_codes

AT_LEAST = 3
"""Calls of one statement in one request from which it counts as repeated: two are often a check
and an update."""
_NS_PER_MS = 1e6
_KEYS = ["call", "service", "caller", "db_system", "statement"]


def repeats(spans: pd.DataFrame, *, at_least: int = AT_LEAST) -> pd.DataFrame:
    """List statements that one caller runs ``at_least`` times in one request, most calls first.

    Raises ``ColumnError`` for a table that is not spans.
    """
    calls, rows = all_calls(spans)
    codes, count = trace_codes(spans["trace_id"])
    those = spans.iloc[rows].reset_index(drop=True)
    calls["trace"] = codes[rows]
    made_by = callers(spans)
    name = spans["name"].astype("str").array.take(made_by, allow_fill=True)
    calls["caller"] = pd.Series(name, dtype="str")
    calls["start"] = those["start_ns"].to_numpy()
    calls["took"] = those["duration_ns"].fillna(0).to_numpy(dtype=np.int64).clip(min=0)
    calls["end"] = calls["start"] + calls["took"]
    calls["trace_id"] = those["trace_id"]
    calls = calls[calls["call"].isin(["query", "cache"])]
    calls = calls.sort_values(["trace", "start"], kind="stable")
    groups = calls.groupby(["trace", *_KEYS], dropna=False, observed=True)
    before = groups["end"].shift(fill_value=0)  # whole numbers: doubles lose ns since 1970
    follows = (calls["start"] >= before).where(groups.cumcount() > 0)
    calls["follows"] = follows.astype("float64")
    per_trace = calls.groupby(["trace", *_KEYS], dropna=False, observed=True).agg(
        calls=("start", "size"),
        took=("took", "sum"),
        follows=("follows", "mean"),
        example=("trace_id", "first"),
    )
    repeated = per_trace[per_trace["calls"] >= at_least].reset_index()
    table = repeated.groupby(_KEYS, dropna=False, observed=True, as_index=False).agg(
        requests=("trace", "size"),
        mean_repeats=("calls", "mean"),
        max_repeats=("calls", "max"),
        total_ms=("took", "mean"),
        one_after_the_other=("follows", "mean"),
        example=("example", "first"),
    )
    table["total_ms"] /= _NS_PER_MS
    table.insert(6, "share_of_requests", table["requests"] / max(count, 1))
    most = (table["requests"] * table["mean_repeats"]).sort_values(ascending=False, kind="stable")
    return table.loc[most.index].reset_index(drop=True)
