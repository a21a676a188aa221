"""What did PostgreSQL, MySQL, MongoDB and Redis execute in each arm's blocks?

PostgreSQL is read by statement (``pg_stat_statements``), MySQL and MariaDB by digest or else by
command, MongoDB and Redis by command; ``arm_windows`` makes the windows.

Not counted: control statements, which are no queries in spans either; the recorder's own readings;
statements inside of functions, unless the extension is older than PostgreSQL 14's. Autovacuum
sends no statement.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pandas as pd

from analysis.calls.classify import cache_calls_of, find_calls, queries_to
from analysis.calls.statements import of_texts
from analysis.checks.counts.arm_windows import (
    ArmCount,
    Readings,
    count_by_arm,
    readings,
    spans_of,
)
from analysis.checks.counts.mongo_counts import QUERIES
from analysis.checks.counts.mongo_counts import SERVER_STATUS as MONGO_STATUS
from analysis.checks.counts.mysql_counts import COMMANDS, DIGESTS
from analysis.checks.counts.statement_counts import growth_of, is_query
from analysis.rundir.manifest import Manifest

SERVERS = {"postgresql": "PostgreSQL", "mysql": "MySQL", "mongodb": "MongoDB"}
"""Databases by their ``db.system``, and what they are called."""

INFO = "Redis INFO"


def by_arm(
    manifest: Manifest, spans: pd.DataFrame, counters: pd.DataFrame, server: str
) -> tuple[ArmCount, ...]:
    """Hold the queries and one database's count against each other in each arm's blocks.

    Nothing where ``count_by_arm`` gives nothing.
    """
    read = database_readings(counters, server)
    return () if read is None else count_by_arm(manifest, read, _queries(spans, server, read))


def database_readings(counters: pd.DataFrame, server: str) -> Readings | None:
    """Give the readings of one of ``SERVERS``."""
    if server == "postgresql":
        rows = counters[counters["source"] == "postgres"]
        return _by_statement(rows, server, "pg_stat_statements")
    if server == "mysql":
        rows = counters[counters["source"] == "mysql"]
        if (rows["name"] == "statement_reading").any():
            if growth_of(rows, "digests_lost", source="mysql"):
                return None
            return _by_statement(
                rows, server, DIGESTS, apart=("prepared_calls", "query_cache_hits")
            )
        rows = rows.assign(name=rows["name"].replace("query_cache_hits", "command_calls"))
        labels = rows.loc[rows["name"] == "command_calls", "labels"].unique()
        commands = [str(json.loads(label).get("command", "")) for label in labels]
        return readings(
            rows,
            dict.fromkeys(commands, ""),  # one count of all: spans need not name a command
            counter="command_calls",
            label="command",
            counted_by=COMMANDS,
        )
    return readings(
        counters[counters["source"] == "mongodb"],
        {command: command for command in QUERIES},
        counter="command_calls",
        label="command",
        counted_by=MONGO_STATUS,
    )


def redis_by_arm(
    manifest: Manifest, spans: pd.DataFrame, counters: pd.DataFrame
) -> Iterator[tuple[str, ArmCount]]:
    """Hold each command that spans name, and hits where spans tell of them, against Redis."""
    rows = counters[counters["source"] == "redis"]
    calls = cache_calls_of(spans, "redis")
    named = redis_commands(calls).str.lower()
    for command in named.unique():
        read = redis_readings(rows, {command: command})
        if read is not None and read.calls.any():
            own = named == command
            for count in count_by_arm(manifest, read, spans_of(calls[own], named[own])):
                yield f"cache calls: {command.upper()}", count
    hits = calls[calls["cache_hit"].fillna(value=False).astype(bool)]
    told = calls["cache_hit"].notna().any()
    read = readings(rows, None, counter="keyspace_hits", label="", counted_by=INFO)
    if told and read is not None:
        names = pd.Series("", index=hits.index)
        for count in count_by_arm(manifest, read, spans_of(hits, names)):
            yield "cache hits", count


def redis_readings(rows: pd.DataFrame, names: dict[str, str] | None) -> Readings | None:
    """Give the readings of Redis' commands out of its rows."""
    return readings(rows, names, counter="command_calls", label="command", counted_by=INFO)


def redis_commands(calls: pd.DataFrame) -> pd.Series:
    """Give the command of each cache call: its operation, or the first word of its name."""
    named: pd.Series = calls["db_operation"].fillna(calls["name"].str.split(" ").str[0])
    return named


def _by_statement(
    rows: pd.DataFrame, server: str, counted_by: str, apart: tuple[str, ...] = ()
) -> Readings | None:
    """Texts are long and were read at the begin and end alone, the counts by their ids."""
    texts = {
        str(label["queryid"]): str(label["query"])
        for label in map(
            json.loads, rows.loc[rows["name"] == "statement_calls", "labels"].unique()
        )
        if label.get("queryid")
    }
    queries = {number: text for number, text in texts.items() if is_query(text)}
    forms = of_texts(pd.Series(list(queries.values()), dtype="str"), server)
    return readings(
        rows,
        dict(zip(queries, map(str, forms), strict=True)),
        counter="statement_calls_by_id",
        label="queryid",
        counted_by=counted_by,
        mark="statement_reading",
        apart=apart,
    )


def _queries(spans: pd.DataFrame, server: str, read: Readings) -> pd.DataFrame:
    """Give each query that the server may have counted, named as in its readings."""
    if not spans.index.is_unique:
        spans = spans.reset_index(drop=True)
    chosen = queries_to(spans, server)
    if read.counted_by == MONGO_STATUS:
        first = chosen["name"].str.split(" ").str[0].str.split(".").str[-1]
        return spans_of(chosen, chosen["db_operation"].fillna(first).str.lower())
    if read.counted_by == COMMANDS:
        return spans_of(chosen, pd.Series("", index=chosen.index))
    found = find_calls(spans)
    forms = pd.Series(found.statements, dtype="str").reindex(found.statement).to_numpy()
    by_row = pd.Series(forms, index=spans.index[found.rows])
    return spans_of(chosen, by_row.reindex(chosen.index))
