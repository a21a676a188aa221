"""Do the spans of somebody else's service say what their database and Redis say?

Their servers are not ours: others may use them, and a transaction may hold several statements. So
the counts need not be equal, and what each method leaves open is not held against the run:

- ``pg_stat_statements`` counts every statement, as spans do, and so do MySQL, MongoDB (commands)
  and Redis. Where they were read while the run went on, each arm is held against what was counted
  within its blocks (``arm_windows``); else the whole recording is, unless somebody reset the
  counts meanwhile.
- ``pg_stat_database`` counts transactions: a lower bound of the statements. The scans of all
  tables and the rows written are an upper bound of the statements that touch a table.
- MySQL and MariaDB: see ``analysis.checks.counts.mysql_counts``.

Spans that tell of more queries than the server can have had counted one query twice, or something
that is none. Fewer spans than the server counted: somebody else asked as well, or spans were lost.

Worked example: spans of an ORM and of its driver say 4,414 queries for 918 requests. PostgreSQL
counted 1,495 transactions and 1,466 scans: at most 1,495 queries, 1.6 per request against 4.8.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from analysis.calls.classify import calls as all_calls
from analysis.calls.classify import queries_to
from analysis.checks.counts.arm_windows import ArmCount, Readings, short_of_readings
from analysis.checks.counts.cross_checks import SERVED_KINDS, growth, roots, their_redis
from analysis.checks.counts.mongo_counts import of_mongo
from analysis.checks.counts.mysql_counts import of_mysql
from analysis.checks.counts.served import served_traces
from analysis.checks.counts.statement_counts import ServerCount, growth_of, statements
from analysis.checks.counts.statement_windows import (
    SERVERS,
    by_arm,
    database_readings,
    redis_by_arm,
    redis_readings,
)
from analysis.checks.run_checks import Issue, Level
from analysis.rundir.manifest import Block, Manifest

COUNTS_SUSPECT_SHARE = 0.02
"""Two counts of one thing in a service that is not ours may differ by this share: statements of
its start-up, of a pool that checks its connections, at the edges of the recording."""

COUNTS_INVALID_SHARE = 0.10
"""An error of a tenth in one arm makes or hides a reduction factor of 1.1, which is about what a
cache in front of one query of ten gives: beyond it the answer may be the error."""

COUNTS_SLACK = 10
"""So many calls may differ whatever the share: a service opens its pool, a script looks around."""

HANDED_IN_NS = 11 * 10**9
"""PostgreSQL's backends hand in what they counted at the latest 10 s after they fell idle."""

LONGEST_SHOWN = 80
"""Characters of a statement in a sentence."""

FEWEST_WINDOW_SECONDS = 2.0
"""PostgreSQL's counts come once a second: a shorter window says nothing."""


BESIDE_QUERIES = ("ping", "session reset", "prepare", "setting")
"""Calls that are no queries and may be transactions of their own: asyncpg's reset of a connection
that goes back to its pool, a driver's prepared statement."""


def of_postgres(counters: pd.DataFrame, beside: int = 0) -> ServerCount | None:
    """How many queries PostgreSQL can have had over the recording; None where nobody asked it.

    ``beside`` are calls in the spans that are no queries: so many transactions may be theirs.
    """
    told = statements(counters)
    if told is not None and told[1]:
        return ServerCount(least=told[0], most=told[0], counted_by="pg_stat_statements")
    committed = growth_of(counters, "xact_commit", "xact_rollback")
    if committed is None:
        return None
    ours = int((counters["name"] == "statement_reading").sum())  # each is a transaction
    transactions = max(0.0, committed - (growth_of(counters, "sessions") or 0.0) - ours)
    touched = growth_of(counters, "table_scans", "rows_inserted", "rows_updated", "rows_deleted")
    most = float("inf") if touched is None else max(touched, transactions)
    least = max(0.0, transactions - beside)
    return ServerCount(least=least, most=most, counted_by="transactions")


def about_database(
    manifest: Manifest, spans: pd.DataFrame, counters: pd.DataFrame, server: str
) -> list[Issue]:
    """Hold the spans' queries against the own count of one of ``SERVERS``."""
    arms = by_arm(manifest, spans, counters, server)
    if arms:
        return [issue for arm in arms for issue in _about_arm(arm, spans, SERVERS[server])]
    found = _about_whole(
        manifest,
        spans,
        queries_to(spans, server),
        counters,
        _of(server, spans, counters),
        server=SERVERS[server],
    )
    short = _about_short(manifest, database_readings(counters, server), SERVERS[server])
    return [*found, *short]


def _of(server: str, spans: pd.DataFrame, counters: pd.DataFrame) -> ServerCount | None:
    if server == "mysql":
        return of_mysql(counters)
    if server == "mongodb":
        return of_mongo(counters)
    told, _ = all_calls(spans)
    return of_postgres(counters, int(told["call"].isin(BESIDE_QUERIES).sum()))


def _about_short(manifest: Manifest, read: Readings | None, server: str) -> Iterator[Issue]:
    short = short_of_readings(manifest, read)
    if short:
        yield Issue(
            Level.NOTED,
            f"{server}'s count is held against the whole recording: no block of"
            f" {' or of '.join(short)} holds two of its readings, of which there is one a"
            " second. Longer blocks are judged by arm.",
        )


def _about_whole(
    manifest: Manifest,
    spans: pd.DataFrame,
    calls: pd.DataFrame,
    counters: pd.DataFrame,
    count: ServerCount | None,
    *,
    server: str,
) -> list[Issue]:
    """Hold queries against a server's count over the whole recording."""
    if count is None or calls.empty:
        return []
    apart, share = _apart(len(calls), count)
    if apart == 0:
        return []
    more = len(calls) > count.most
    level = Level.INVALID if more and share > COUNTS_INVALID_SHARE else Level.SUSPECT
    said, counted, where = _per_request(manifest, spans, calls, counters, count)
    sentence = (
        f"{where}spans say {said:.1f} queries per request, {server} says"
        f" {counted:.1f} ({count.counted_by}); over the whole recording {len(calls)} and"
        f" {count.nearest(len(calls)):.0f}."
    )
    why = (
        " Spans count a query twice, or something that is none."
        if more
        else " Others used the database as well, or spans were lost."
    )
    return [Issue(level, sentence[0].upper() + sentence[1:] + why)]


def _open_to(count: ArmCount) -> ServerCount:
    """What the server can have had, given the calls under way at the readings."""
    return ServerCount(
        least=max(0.0, count.counted - count.under_way),
        most=count.most + count.under_way,
        counted_by=count.counted_by,
    )


def _about_arm(count: ArmCount, spans: pd.DataFrame, server: str) -> Iterator[Issue]:
    """Hold an arm's queries against what the database counted in its blocks."""
    apart, share = _apart(count.from_spans, _open_to(count))
    if apart == 0:
        return
    tops = roots(spans)
    served = tops[tops["kind"].isin(SERVED_KINDS)]
    starts = (tops if served.empty else served).drop_duplicates("trace_id")["start_ns"]
    requests = sum(int(starts.between(*stretch).sum()) for stretch in count.stretches)
    more = count.from_spans > count.counted
    worst = count.names[0]
    most_apart = (
        f" Most apart is {_short(worst.name)}: {worst.from_spans} and {worst.counted:.0f}."
        if worst.name
        else ""
    )
    own = more or worst.from_spans > 0
    level = Level.INVALID if own and share > COUNTS_INVALID_SHARE else Level.SUSPECT
    why = (
        "Spans count a query twice, or something that is none."
        if more
        else "Spans were lost, or somebody asked the same without spans."
        if own
        else "No span tells of that statement: others used the database as well, or a client is"
        " not instrumented."
    )
    yield Issue(
        level,
        f"In arm {count.arm} spans say {count.from_spans / max(1, requests):.1f} queries per"
        f" request, {server} says {count.counted / max(1, requests):.1f} ({count.counted_by});"
        f" {count.from_spans} and {count.counted:.0f} between the readings in"
        f" {len(count.stretches)} blocks.{most_apart} {why}",
    )


def _short(statement: str) -> str:
    return statement if len(statement) <= LONGEST_SHOWN else f"{statement[:LONGEST_SHOWN]}..."


def about_redis(
    manifest: Manifest, spans: pd.DataFrame, counters: pd.DataFrame
) -> Iterator[Issue]:
    """Hold the spans' cache calls and hits against Redis' own counts, by arm where that can be."""
    arms = list(redis_by_arm(manifest, spans, counters))
    for what, arm in arms:
        where = f" between the readings in {len(arm.stretches)} blocks of arm {arm.arm}"
        own = arm.from_spans > 0  # else others alone asked Redis for it
        yield from _about_cache(what, arm.from_spans, arm.counted, _open_to(arm), where, own=own)
    if arms:
        return
    whole = list(their_redis(spans, growth(counters)))
    for row in whole:
        if row.independent is not None:
            count = ServerCount(
                least=row.independent, most=row.independent, counted_by=row.counted_by
            )
            yield from _about_cache(row.what, row.from_spans, row.independent, count)
    if whole:
        read = redis_readings(counters[counters["source"] == "redis"], None)
        yield from _about_short(manifest, read, "Redis")


def _about_cache(
    what: str,
    said: float,
    counted: float,
    count: ServerCount,
    where: str = "",
    *,
    own: bool = False,
) -> Iterator[Issue]:
    apart, share = _apart(said, count)
    if apart == 0:
        return
    more = said > counted
    why = (
        "Spans count a call twice."
        if more
        else "Spans were lost, or somebody asked the same without spans."
        if own
        else "Others used Redis as well, or spans were lost."
    )
    yield Issue(
        Level.INVALID if (more or own) and share > COUNTS_INVALID_SHARE else Level.SUSPECT,
        f"{what[0].upper()}{what[1:]}: spans say {said:.0f}, Redis says {counted:.0f}{where}."
        f" {why}",
    )


def _apart(said: float, count: ServerCount) -> tuple[float, float]:
    """By how much the spans' number lies outside of what is open, and as a share; or 0."""
    nearest = count.nearest(said)
    apart = abs(said - nearest)
    share = apart / max(nearest, 1.0)
    if apart <= max(COUNTS_SLACK, COUNTS_SUSPECT_SHARE * nearest):
        return 0.0, 0.0
    return apart, share


def _per_request(
    manifest: Manifest,
    spans: pd.DataFrame,
    calls: pd.DataFrame,
    counters: pd.DataFrame,
    count: ServerCount,
) -> tuple[float, float, str]:
    """Both counts per request: in the baseline's blocks if the samples allow it, else over all."""
    tops = roots(spans)
    served = served_traces(spans)
    if not served.empty:
        tops = tops[tops["trace_id"].isin(served)]
    arm = manifest.baseline
    windows = _windows(manifest, arm)
    if count.counted_by == "transactions" and windows and calls["arm"].notna().any():
        counted = _transactions_in(counters, list(windows.values()))
        requests = tops.loc[tops["block"].isin(windows), "trace_id"].nunique()
        if counted is not None and requests:
            own = int(calls["block"].isin(windows).sum())
            return own / requests, counted / requests, f"in arm {arm} "
    requests = max(1, tops["trace_id"].nunique())
    return len(calls) / requests, count.nearest(len(calls)) / requests, ""


def _windows(manifest: Manifest, arm: str | None) -> dict[int, tuple[int, int]]:
    """From each block of the arm to the next block's begin: idle servers hand in counts late."""
    ordered: list[Block] = sorted(manifest.blocks, key=lambda block: block.start_ns)
    if len({block.arm for block in ordered}) < 2:  # noqa: PLR2004 - nothing to tell apart
        return {}
    ends = [after.start_ns for after in ordered[1:]]
    ends += [block.end_ns + HANDED_IN_NS for block in ordered[-1:]]
    return {
        block.block: (block.start_ns, end)
        for block, end in zip(ordered, ends, strict=True)
        if block.arm == arm and (end - block.start_ns) / 1e9 >= FEWEST_WINDOW_SECONDS
    }


def _transactions_in(counters: pd.DataFrame, windows: list[tuple[int, int]]) -> float | None:
    """Transactions in these stretches of time, between the samples of a second."""
    total = 0.0
    for name, sign in (("xact_commit", 1.0), ("xact_rollback", 1.0), ("sessions", -1.0)):
        rows = counters[(counters["source"] == "postgres") & (counters["name"] == name)]
        for _, series in rows.sort_values("t_ns").groupby("labels"):
            times, values = (series[column].to_numpy(np.float64) for column in ("t_ns", "value"))
            if len(times) <= 2:  # noqa: PLR2004 - the ends alone
                return None
            begins, ends = (np.array(side, np.float64) for side in zip(*windows, strict=True))
            total += sign * float(
                (np.interp(ends, times, values) - np.interp(begins, times, values)).sum()
            )
    return max(0.0, total)
