"""How many queries did a database count, statement by statement, while a service was recorded?

Only statements that put a question to the data: those of a connection or transaction are no query
in spans either, and the recorder's own look at the counts is not the service's.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

_CONTROL = re.compile(
    r"\s*(?:begin|commit|rollback|start|end|abort|savepoint|release|set|reset|show|discard"
    r"|deallocate|prepare|declare|close|fetch|listen|unlisten|use"
    r"|select pg_advisory_unlock_all)\b",
    re.IGNORECASE,
)
"""Statements of a connection or transaction, which are no query in spans either."""

_LOOKING = re.compile(r"\bpg_stat_|\bpg_extension\b|\bperformance_schema\b", re.IGNORECASE)
"""Statements of whoever looks at the server's counts, as the recorder does."""


def is_query(text: str) -> bool:
    """Whether a statement of the service puts a question to the data."""
    return not _CONTROL.match(text) and not _LOOKING.search(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCount:
    """How many queries a server can have had."""

    least: float
    most: float
    counted_by: str

    @property
    def exact(self) -> bool:
        """Whether the server counted the queries themselves."""
        return self.least == self.most

    def nearest(self, said: float) -> float:
        """The number within the bounds that is nearest to what the spans say."""
        return min(max(said, self.least), self.most)


def growth_of(counters: pd.DataFrame, *names: str, source: str = "postgres") -> float | None:
    """By how much a server's counters of these names grew together; None where there is none."""
    rows = counters[(counters["source"] == source) & counters["name"].isin(names)]
    values = rows.sort_values("t_ns").groupby(["name", "labels"])["value"]
    ends = values.agg(["first", "last", "size"])
    ends = ends[ends["size"] > 1]
    grown = ends["last"] - ends["first"]
    return None if ends.empty or (grown < 0).any() else float(grown.sum())


def statements(counters: pd.DataFrame, source: str = "postgres") -> tuple[float, bool] | None:
    """How many queries a server counted by statement, and whether that is all of them.

    None where it counts none, as PostgreSQL without ``pg_stat_statements``.
    """
    rows = counters[(counters["source"] == source) & (counters["name"] == "statement_calls")]
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
