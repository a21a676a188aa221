"""What would have been the most that this could give?

Removing an operation whole cannot gain more than its share of the critical path (Amdahl, 1967):
speed-up 1 / (1 - s). For the database: caching an operation whole cannot save more than the
queries made under it.

Answer: operation, service, share, speedup_at_most, saves_at_most_ms, queries_per_request,
queries_saved_at_most (share of all queries).
"""

from __future__ import annotations

import math

import pandas as pd


def ceiling(shares: pd.DataFrame, queries: pd.DataFrame, *, request_ms: float) -> pd.DataFrame:
    """The ceiling of every operation, largest share first.

    ``shares`` as ``analysis.shares.request_shares`` (of the baseline), ``queries`` as
    ``queries_under``, ``request_ms`` the mean duration of a root.
    """
    table = shares[["service", "name", "share", "share_low", "share_high"]].copy()
    table = table.rename(columns={"name": "operation"})
    below = queries.set_index("operation")["queries_per_request"] if len(queries) else pd.Series()
    table["queries_per_request"] = table["operation"].map(below).fillna(0.0)
    whole = float(queries["all_per_request"].max()) if len(queries) else math.nan
    table["queries_saved_at_most"] = table["queries_per_request"] / whole if whole else math.nan
    for end in ("", "_low", "_high"):
        left = 1.0 - table[f"share{end}"].astype("float64")
        table[f"speedup_at_most{end}"] = (1.0 / left).where(left > 0)
        table[f"saves_at_most_ms{end}"] = table[f"share{end}"].astype("float64") * request_ms
    return table.sort_values("share", ascending=False).reset_index(drop=True)


def queries_under(spans: pd.DataFrame, calls: pd.DataFrame, requests: int) -> pd.DataFrame:
    """Logical queries per request made directly under each operation.

    Columns operation, queries_per_request, all_per_request.
    """
    key = ["trace_id", "span_id"]
    parents = calls[["trace_id", "parent_span_id"]].rename(columns={"parent_span_id": "span_id"})
    named = parents.merge(spans[[*key, "name"]], on=key, how="inner")
    counts = named.groupby("name").size() / max(requests, 1)
    table = counts.rename("queries_per_request").rename_axis("operation").reset_index()
    return table.assign(all_per_request=len(calls) / max(requests, 1))
