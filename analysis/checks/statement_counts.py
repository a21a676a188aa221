"""How many queries did ``pg_stat_statements`` count while a service was recorded?

Only statements that put a question to the data: those of a connection or transaction are no query
in spans either, and the recorder's own look at the counts is not the service's.
"""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd

_CONTROL = re.compile(
    r"\s*(?:begin|commit|rollback|start|end|abort|savepoint|release|set|reset|show|discard"
    r"|deallocate|prepare|declare|close|fetch|listen|unlisten|select pg_advisory_unlock_all)\b",
    re.IGNORECASE,
)
"""Statements of a connection or transaction, which are no query in spans either."""

_LOOKING = re.compile(r"\bpg_stat_|\bpg_extension\b", re.IGNORECASE)
"""Statements of whoever looks at the server's counts, as the recorder does."""


def is_query(text: str) -> bool:
    """Whether a statement of the service puts a question to the data."""
    return not _CONTROL.match(text) and not _LOOKING.search(text)


def statements(counters: pd.DataFrame) -> tuple[float, bool] | None:
    """How many queries ``pg_stat_statements`` counted, and whether that is all of them.

    None without the extension.
    """
    rows = counters[(counters["source"] == "postgres") & (counters["name"] == "statement_calls")]
    if rows.empty:
        return None
    first_ns, last_ns = rows["t_ns"].min(), rows["t_ns"].max()
    if first_ns == last_ns:
        return None
    first = rows[rows["t_ns"] == first_ns].groupby("labels")["value"].sum()
    last = rows[rows["t_ns"] == last_ns].groupby("labels")["value"].sum()
    gone = first.index.difference(last.index)
    was_reset = bool((last.reindex(first.index) < first).any()) or len(gone) > 0
    grown = last if was_reset else last.sub(first, fill_value=0.0).reindex(last.index)
    texts = [str(json.loads(label).get("query", "")) for label in grown.index]
    asked = np.array([is_query(text) for text in texts], dtype=bool)
    return float(grown[asked].sum()), not was_reset
