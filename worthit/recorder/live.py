"""What is going on right now? A look at the last seconds' spans, decoded only when asked.

What is a query, and what is self time, is ``analysis``'s answer, as everywhere; rough is only that
whole batches are looked at, and that spans still under way are missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MAX_BYTES = 16 << 20
"""Of batches looked at in one go, newest first: a question costs a fraction of a second."""
_NS_PER_MS = 1e6


def live(batches: Sequence[bytes], seconds: float) -> dict[str, Any]:
    """By operation: service, name, spans_per_s, mean_self_ms, queries_per_s; the busiest first.

    A query counts for the operation that made it: of its parent, above all database calls.
    """
    kept = _newest(batches)
    operations, spans, queries = _operations(kept, seconds) if any(kept) else ([], 0, 0)
    return {
        "seconds": seconds,
        "spans": spans,
        "truncated": len(kept) < len(batches),
        "queries_per_s": queries / seconds,
        "operations": operations,
    }


def _newest(batches: Sequence[bytes]) -> list[bytes]:
    kept: list[bytes] = []
    size = 0
    for data in reversed(batches):
        size += len(data)
        if kept and size > MAX_BYTES:
            break
        kept.append(data)
    return kept


def _operations(batches: Sequence[bytes], seconds: float) -> tuple[list[dict[str, Any]], int, int]:
    import numpy as np  # noqa: PLC0415 - recording needs none of these
    import pandas as pd  # noqa: PLC0415 - as above

    from analysis.calls.classify import QUERY, callers, find_calls  # noqa: PLC0415 - as above
    from analysis.formats.columns import to_pandas  # noqa: PLC0415 - as above
    from analysis.formats.otlp.otlp_columns import table  # noqa: PLC0415 - as above
    from analysis.self_time import self_time  # noqa: PLC0415 - as above

    spans = to_pandas(table(batches))
    made_by = callers(spans)[find_calls(spans).kind == QUERY]
    rows = pd.DataFrame(
        {
            "service": spans["service"].fillna("unknown_service"),
            "name": spans["name"],
            "self_ns": self_time(spans),
            "queries": np.bincount(made_by[made_by >= 0], minlength=len(spans)),
        }
    )
    found = rows.groupby(["service", "name"], dropna=False, as_index=False).agg(
        count=("name", "size"), self_ns=("self_ns", "mean"), queries=("queries", "sum")
    )
    found = found.sort_values(["count", "service", "name"], ascending=[False, True, True])
    operations = [
        {
            "service": row["service"],
            "name": row["name"],
            "spans_per_s": row["count"] / seconds,
            "mean_self_ms": row["self_ns"] / _NS_PER_MS,
            "queries_per_s": row["queries"] / seconds,
        }
        for row in found.to_dict("records")
    ]
    return operations, len(spans), len(made_by)
