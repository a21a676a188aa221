"""Do independent cross-checks agree with what the spans say?

A span is the service's own word. PostgreSQL, Redis, the LLM simulator and the load generator each
count the same things without knowing of spans. All spans of a run are held against them, warm-up
included, because the servers do not know which block they are in.

Answer, one row a cross-check: what, arm, from_spans, independent (missing when nobody counted),
counted_by, exact (whether the two must be equal), tolerance (by how much the independent count may
be higher, because the server answered calls whose answer never came back).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import astuple, dataclass

import pandas as pd

from analysis.calls.classify import cache_calls_of, queries_of, queries_to
from analysis.checks.counts.arm_windows import ArmCount
from analysis.checks.counts.mongo_counts import of_mongo
from analysis.checks.counts.mysql_counts import of_mysql
from analysis.checks.counts.statement_counts import ServerCount, statements
from analysis.checks.counts.statement_windows import (
    INFO,
    SERVERS,
    by_arm,
    redis_by_arm,
    redis_commands,
)
from analysis.formats.attributes import numbers
from analysis.rundir.manifest import CrossCheck, Manifest
from worthit.contract.names import POOL_WAIT_NS, REDIS_HITS, REDIS_MISSES

COLUMNS = ["what", "arm", "from_spans", "independent", "counted_by", "exact", "tolerance"]

TRANSACTIONS = "pg_stat_database: transactions"
"""The cross-check of all database calls: every statement is a transaction of its own."""

ANSWERED = "requests answered"
"""The cross-check of the traces with the load's rows."""

STATEMENTS = "pg_stat_statements: calls"
"""The same where the extension counts every statement."""

SERVED_KINDS = ("SERVER", "CONSUMER")
"""Kinds of span that begin a request in a service even when their parent is somebody else's."""

LLM_LOG = "logs/llm.jsonl"
"""What the LLM simulator logged of its own calls, one line a call."""

LLM_KINDS = ("chat", "embeddings")
"""Kinds of call to the LLM, as the simulator's log and the spans' names have them."""

EMPTYING_FAULT = "redis-gone"
"""The injected fault that takes a Redis's counts with it: it is killed and started anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """One count that two parties made; fields in the order of ``COLUMNS``."""

    what: str
    arm: str | None
    from_spans: float
    independent: float | None
    counted_by: str
    exact: bool
    tolerance: int = 0


def cross_checks(
    manifest: Manifest,
    spans: pd.DataFrame,
    requests: pd.DataFrame,
    counters: pd.DataFrame,
    llm_calls: pd.DataFrame,
) -> pd.DataFrame:
    """Every count that two parties made, side by side; columns as ``COLUMNS``."""
    grown = growth(counters)
    counts = [
        *(_our_servers(manifest, spans, grown) if manifest.scenario else ()),
        *(() if manifest.scenario else _their_servers(manifest, spans, grown, counters)),
        *_llm(manifest, spans, llm_calls),
        *_requests(manifest, spans, requests),
    ]
    return pd.DataFrame([astuple(count) for count in counts], columns=COLUMNS)


def off_by(from_spans: float, independent: float, tolerance: float = 0.0) -> float:
    """How far two counts are apart, beyond the tolerance; 0: they agree.

    A lower independent count is never excused: the service says that each was answered.
    """
    more = independent - from_spans
    return max(0.0, more - tolerance) if more > 0 else -more


def agrees(row: CrossCheck) -> bool:
    """Whether the two counts say the same; not where nobody else counted."""
    if row.from_spans is None or row.independent is None:
        return False
    return off_by(row.from_spans, row.independent, row.tolerance) == 0


def growth(counters: pd.DataFrame) -> pd.DataFrame:
    """By how much each counter grew over the run: source, name, labels (dicts), grown.

    Missing for a counter with a single sample or one that ever fell (its server was restarted).
    """
    keys = ["source", "name", "labels"]
    ordered = counters.sort_values("t_ns", kind="stable")
    values = ordered.groupby(keys, sort=False)["value"]
    ends = values.agg(["first", "last", "size"])
    fell = ordered.assign(fell=values.diff() < 0).groupby(keys, sort=False)["fell"].any()
    grown = (ends["last"] - ends["first"]).where((ends["size"] > 1) & ~fell)
    table = grown.rename("grown").reset_index()
    labels = pd.Series([json_object(text) for text in table["labels"]], dtype="object")
    return table.assign(labels=labels)


def unanswered(cache_calls: pd.DataFrame) -> pd.DataFrame:
    """The cache calls that timed out or failed: hits or misses, only the cache knows.

    NOSCRIPT is an answer: Redis has not seen that script yet, and looked nothing up.
    """
    failed = cache_calls[cache_calls["status"] == "ERROR"]
    return failed[~failed["attributes"].str.contains("noscript", case=False, na=False)]


def calls_of_llm(spans: pd.DataFrame, kind: str) -> int:
    """How many calls of this kind the spans tell of."""
    named = spans["name"].str.startswith(f"{kind} ")
    return int(((spans["kind"] == "CLIENT") & named).sum())


def is_simulated(manifest: Manifest) -> bool:
    """Whether the LLM was the simulator of the run, which logs what it does."""
    return "llm" in manifest.parts and manifest.parts["llm"].embedded


def roots(spans: pd.DataFrame, *, ids: pd.Series | None = None) -> pd.DataFrame:
    """Spans that begin a request: without parent, or serving one whose parent nobody recorded.

    ``ids`` are the ids of all spans, where the table leaves them out.
    """
    above = spans["parent_span_id"]
    served = spans["kind"].isin(SERVED_KINDS) & above.notna()
    if not served.any():
        return spans[above.isna()]
    known = spans["span_id"] if ids is None else ids
    asked = above[served]
    found = known[known.isin(asked)]  # few or none: what is asked for is sought among the many
    return spans[above.isna() | (served & ~above.isin(found))]


def json_object(text: object) -> dict[str, object]:
    """A JSON object in a text, such as labels and an event's detail; empty where there is none."""
    try:
        parsed = json.loads(str(text))
    except json.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _our_servers(manifest: Manifest, spans: pd.DataFrame, grown: pd.DataFrame) -> Iterator[Count]:
    """Servers that nobody else used, one database and one Redis per arm."""
    yield from _database(manifest, spans, grown)
    yield from _redis(manifest, spans, grown)


def _their_servers(
    manifest: Manifest, spans: pd.DataFrame, grown: pd.DataFrame, counters: pd.DataFrame
) -> Iterator[Count]:
    """Somebody else's, if they were asked."""
    yield from _their_database(spans, grown, counters)
    yield from _in_all(spans, "mysql", of_mysql(counters))
    yield from _in_all(spans, "mongodb", of_mongo(counters))
    for server in SERVERS:
        for arm in by_arm(manifest, spans, counters, server):
            yield _in_windows("database calls", arm, f"{SERVERS[server]}: {arm.counted_by}")
    yield from their_redis(spans, grown)
    for what, arm in redis_by_arm(manifest, spans, counters):
        yield _in_windows(what, arm, arm.counted_by)


def _in_windows(what: str, arm: ArmCount, counted_by: str) -> Count:
    return Count(
        what=f"{what} between readings",
        arm=arm.arm,
        from_spans=arm.from_spans,
        independent=arm.counted,
        counted_by=counted_by,
        exact=False,
        tolerance=arm.under_way + round(arm.apart),
    )


def _database(manifest: Manifest, spans: pd.DataFrame, grown: pd.DataFrame) -> Iterator[Count]:
    calls = queries_of(spans)
    if not (grown["source"] == "postgres").any() and calls.empty:
        return
    for arm in manifest.arms:
        own = calls[calls["arm"] == arm.name]
        own = own[~_never_sent(own)]
        apart = arm.database is not None or len(manifest.arms) == 1
        yield Count(
            what="database calls",
            arm=arm.name,
            from_spans=len(own),
            independent=_transactions(grown, arm.database) if apart else None,
            counted_by=TRANSACTIONS,
            exact=True,
        )
        cached = manifest.cached_collection
        if cached is None or not apart:
            continue
        of_table = own[(own["db_collection"] == cached) & (own["db_operation"] == "SELECT")]
        yield Count(
            what=f"SELECT {cached}",
            arm=arm.name,
            from_spans=len(of_table),
            independent=_sum(
                grown, "postgres", "table_scans", database=arm.database, table=cached
            ),
            counted_by="pg_stat_user_tables: scans",
            exact=True,
        )


def _their_database(
    spans: pd.DataFrame, grown: pd.DataFrame, counters: pd.DataFrame
) -> Iterator[Count]:
    """Somebody else's database, one for all arms, if it was asked.

    Shown here; ``analysis.checks.counts.server_counts`` judges it by what each count leaves open.
    """
    told = statements(counters)
    total, counted_by = _transactions(grown, None), TRANSACTIONS
    if told is not None and told[1]:
        total, counted_by = told[0], STATEMENTS
    if total is None:
        return
    calls = queries_to(spans, "postgresql")
    yield Count(
        what="database calls",
        arm=None,
        from_spans=len(calls[~_never_sent(calls)]),
        independent=total,
        counted_by=counted_by,
        exact=False,
    )


def _in_all(spans: pd.DataFrame, server: str, count: ServerCount | None) -> Iterator[Count]:
    if count is not None:
        yield Count(
            what="database calls",
            arm=None,
            from_spans=len(queries_to(spans, server)),
            independent=count.least,
            counted_by=f"{SERVERS[server]}: {count.counted_by}",
            exact=False,
            tolerance=round(count.most - count.least),
        )


def their_redis(spans: pd.DataFrame, grown: pd.DataFrame) -> Iterator[Count]:
    """Somebody else's Redis, if it was asked: the commands that the spans name, and its hits."""
    calls = cache_calls_of(spans, "redis")
    for operation, seen in redis_commands(calls).value_counts().items():
        counted = _sum(grown, "redis", "command_calls", command=str(operation).lower())
        if counted is not None:
            yield Count(
                what=f"cache calls: {operation}",
                arm=None,
                from_spans=int(seen),
                independent=counted,
                counted_by=f"{INFO}: command_calls",
                exact=False,
            )
    told = spans["cache_hit"].dropna()
    hits = _sum(grown, "redis", "keyspace_hits")
    if hits is not None and not told.empty:
        yield Count(
            what="cache hits",
            arm=None,
            from_spans=int(told.sum()),
            independent=hits,
            counted_by=f"{INFO}: keyspace_hits",
            exact=False,
        )


def _transactions(grown: pd.DataFrame, database: str | None) -> float | None:
    """What PostgreSQL counted in a database: commits and rollbacks, but no connection's start."""
    committed, rolled_back, sessions = (
        _sum(grown, "postgres", name, database=database)
        for name in ("xact_commit", "xact_rollback", "sessions")
    )
    return None if committed is None else committed + (rolled_back or 0.0) - (sessions or 0.0)


def _never_sent(calls: pd.DataFrame) -> pd.Series:
    """Failed calls that were never given a connection: no database knows of them.

    A service that notes how long each call waited for the pool notes it when the wait has ended; a
    call that was refused has no such note.
    """
    noted = calls["attributes"].str.contains(POOL_WAIT_NS, regex=False, na=False)
    return (calls["status"] == "ERROR") & ~noted & bool(noted.any())


def _redis(manifest: Manifest, spans: pd.DataFrame, grown: pd.DataFrame) -> Iterator[Count]:
    """Hits and misses by arm: equal, but for the calls whose answer never came back."""
    calls = cache_calls_of(spans, "redis")
    for arm in manifest.arms:
        own = calls[calls["arm"] == arm.name]
        kept = arm.fault != EMPTYING_FAULT
        tolerance = _lookups_unanswered(own)
        for what, attribute in (("hits", REDIS_HITS), ("misses", REDIS_MISSES)):
            counted = _sum(grown, "redis", f"keyspace_{what}", arm=arm.name) if kept else None
            if counted is None and own.empty:
                continue
            yield Count(
                what=f"cache {what}",
                arm=arm.name,
                from_spans=float(numbers(own["attributes"], attribute).sum()),
                independent=counted,
                counted_by=f"Redis INFO: keyspace_{what}",
                exact=kept,
                tolerance=tolerance,
            )


def _lookups_unanswered(calls: pd.DataFrame) -> int:
    """How many keys Redis may have looked up for calls whose answer never came back.

    One command can ask for several: as many as an answered one of the same kind did at most.
    """
    lost = unanswered(calls)
    if lost.empty:
        return 0
    hits, misses = (
        numbers(calls["attributes"], attribute).fillna(0.0)
        for attribute in (REDIS_HITS, REDIS_MISSES)
    )
    most = (hits + misses)[~calls.index.isin(lost.index)].groupby(calls["db_operation"]).max()
    return int(lost["db_operation"].map(most).fillna(max(1.0, most.max())).sum())


def _llm(manifest: Manifest, spans: pd.DataFrame, llm_calls: pd.DataFrame) -> Iterator[Count]:
    """Calls by kind; a simulator without a log is a cross-check that is missing."""
    if llm_calls.empty and not is_simulated(manifest):
        return
    for kind in LLM_KINDS:
        called = calls_of_llm(spans, kind)
        if llm_calls.empty and not called:
            continue
        yield Count(
            what=f"LLM calls: {kind}",
            arm=None,
            from_spans=called,
            independent=None if llm_calls.empty else int((llm_calls["kind"] == kind).sum()),
            counted_by=LLM_LOG,
            exact=True,
        )


def _requests(manifest: Manifest, spans: pd.DataFrame, requests: pd.DataFrame) -> Iterator[Count]:
    """Of somebody else's service a SERVER span is asked for: the load's own says that it asked."""
    if requests.empty:
        return
    served = spans[spans["kind"].isin(SERVED_KINDS)]
    tops = roots(spans) if manifest.scenario or served.empty else served
    answered = requests.loc[requests["status_code"].notna(), "trace_id"]
    seen = pd.Index(tops["trace_id"].unique())
    yield Count(
        what=ANSWERED,
        arm=None,
        from_spans=int(answered.isin(seen).sum()),
        independent=len(answered),
        counted_by="the load generator's rows",
        exact=True,
    )


def _sum(grown: pd.DataFrame, source: str, name: str, **labels: str | None) -> float | None:
    """Growth of the counters of this name whose labels agree, or None when there are none."""
    rows = grown[(grown["source"] == source) & (grown["name"] == name)]
    wanted = {key: value for key, value in labels.items() if value is not None}
    agree = [
        all(have.get(key) == value for key, value in wanted.items()) for have in rows["labels"]
    ]
    values = rows.loc[agree, "grown"]
    if values.empty or values.isna().any():
        return None
    return float(values.sum())
