"""Spans tables by hand: one line a span, everything else filled in."""

from __future__ import annotations

from typing import Any

import pandas as pd

MS = 1_000_000


def spans(*rows: dict[str, Any]) -> pd.DataFrame:
    """Build a table; times are given in ms as ``start`` and ``takes`` (None: never ended)."""
    table = []
    for row in rows:
        takes = row.get("takes", 0)
        table.append(
            {
                "trace_id": row.get("trace", "t1"),
                "span_id": row["id"],
                "parent_span_id": row.get("parent"),
                "service": row.get("service", "s"),
                "name": row.get("name", row["id"]),
                "kind": row.get("kind", "INTERNAL"),
                "start_ns": round(row.get("start", 0) * MS),
                "duration_ns": None if takes is None else round(takes * MS),
                "status": "UNSET",
                "arm": row.get("arm"),
                "step": 0,
                "block": row.get("block"),
                "db_system": row.get("db"),
                "db_operation": row.get("operation"),
                "db_collection": row.get("collection"),
                "cache_hit": None,
                "attributes": row.get("attributes"),
            }
        )
    types = {"duration_ns": "Int64", "step": "Int32", "block": "Int32", "cache_hit": "boolean"}
    texts = dict.fromkeys(
        ("parent_span_id", "arm", "db_system", "db_operation", "db_collection", "attributes"),
        "str",
    )
    return pd.DataFrame(table).astype({**types, **texts})
