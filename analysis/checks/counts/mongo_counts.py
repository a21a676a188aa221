"""How many queries can MongoDB have had while a service was recorded?

``serverStatus`` counts the commands of the whole server (``metrics.commands``), as spans have one
per command. Not queries: ``getMore``, the next batch of an answer; sessions, pings and ``hello``.
"""

from __future__ import annotations

import json

import pandas as pd

from analysis.checks.counts.statement_counts import ServerCount, growth_of

SERVER_STATUS = "serverStatus: metrics.commands"

QUERIES = (
    *("find", "aggregate", "count", "distinct", "insert", "update", "delete", "findandmodify"),
    *("mapreduce", "bulkwrite", "create", "drop", "createindexes", "dropindexes"),
)
"""Commands that are queries in spans too, in lower case as all names of commands are here."""


def of_mongo(counters: pd.DataFrame) -> ServerCount | None:
    """How many queries it can have had over the recording; None where nobody asked it."""
    rows = counters[counters["source"] == "mongodb"]
    queries = pd.Series(
        [json.loads(text).get("command") in QUERIES for text in rows["labels"]],
        index=rows.index,
        dtype=bool,
    )
    total = growth_of(rows[queries], "command_calls", source="mongodb")
    if total is None:
        return None
    return ServerCount(least=total, most=total, counted_by=SERVER_STATUS)
