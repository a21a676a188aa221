"""Do independent witnesses agree with what the spans say?

A span is the service's own word. PostgreSQL, Redis, the LLM simulator and the load generator each
count the same things without knowing of spans. All spans of a run are held against them, warm-up
included, because the servers do not know which block they are in.

Answer, one row a witness: what, arm, from_spans, independent (missing when nobody counted),
witness, exact (whether the two must be equal).
"""

from __future__ import annotations

import json

import pandas as pd

from analysis.attributes import numbers
from analysis.manifest import Manifest

COLUMNS = ["what", "arm", "from_spans", "independent", "witness", "exact"]

CONNECT_OPERATIONS = ("connect", "CONNECT", "BEGIN", "COMMIT", "ROLLBACK", "fetch")
"""Database spans that are no logical query, so that they match no transaction of their own."""

POOL_WAIT_ATTRIBUTE = "worthit.pool_wait_ns"
"""On the span of a database call that got its connection: how long it had waited for it."""

TRANSACTIONS = "pg_stat_database: transactions"
"""The witness of all database calls: every statement is a transaction of its own."""

SERVED_KINDS = ("SERVER", "CONSUMER")
"""Kinds of span that begin a request in a service even when their parent is somebody else's."""


def witnesses(
    manifest: Manifest,
    spans: pd.DataFrame,
    requests: pd.DataFrame,
    counters: pd.DataFrame,
    llm_calls: pd.DataFrame,
) -> pd.DataFrame:
    """Every count that two parties made, side by side; columns as ``COLUMNS``."""
    grown = growth(counters)
    if manifest.scenario:
        servers = [*_database(manifest, spans, grown), *_redis(manifest, spans, grown)]
    else:
        servers = [*_their_database(spans, grown), *_their_redis(spans, grown)]
    rows = [
        *servers,
        *_llm(spans, llm_calls),
        *_requests(spans, requests),
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def growth(counters: pd.DataFrame) -> pd.DataFrame:
    """By how much each counter grew over the run: source, name, labels (dicts), grown.

    Missing for a counter with a single sample or one that fell (its server was restarted).
    """
    ordered = counters.sort_values("t_ns", kind="stable")
    ends = ordered.groupby(["source", "name", "labels"], sort=False)["value"].agg(
        ["first", "last", "size"]
    )
    grown = (ends["last"] - ends["first"]).where(
        (ends["size"] > 1) & (ends["last"] >= ends["first"])
    )
    table = grown.rename("grown").reset_index()
    labels = pd.Series([_object(text) for text in table["labels"]], dtype="object")
    return table.assign(labels=labels)


def is_database_call(spans: pd.DataFrame) -> pd.Series[bool]:
    """Which spans are logical queries to a SQL database."""
    is_call = spans["db_system"].notna() & (spans["db_system"] != "redis")
    return is_call & ~spans["db_operation"].isin(CONNECT_OPERATIONS)


def database_calls(spans: pd.DataFrame) -> pd.DataFrame:
    """The spans that are logical queries to a SQL database."""
    return spans[is_database_call(spans)]


def unanswered(cache_calls: pd.DataFrame) -> pd.DataFrame:
    """The cache calls that timed out or failed: hits or misses, only the cache knows.

    NOSCRIPT is an answer: Redis has not seen that script yet, and looked nothing up.
    """
    failed = cache_calls[cache_calls["status"] == "ERROR"]
    return failed[~failed["attributes"].str.contains("noscript", case=False, na=False)]


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


def _database(
    manifest: Manifest, spans: pd.DataFrame, grown: pd.DataFrame
) -> list[tuple[object, ...]]:
    calls = database_calls(spans)
    if not (grown["source"] == "postgres").any() and calls.empty:
        return []
    rows: list[tuple[object, ...]] = []
    for arm in manifest.arms:
        own = calls[calls["arm"] == arm.name]
        own = own[~_never_sent(own)]
        if arm.database is None and len(manifest.arms) > 1:
            rows.append(("database calls", arm.name, len(own), None, TRANSACTIONS, True))
            continue
        total = _transactions(grown, arm.database)
        rows.append(("database calls", arm.name, len(own), total, TRANSACTIONS, True))
        cached = manifest.cached_collection
        if cached is not None:
            of_table = own[(own["db_collection"] == cached) & (own["db_operation"] == "SELECT")]
            scans = _sum(grown, "postgres", "table_scans", database=arm.database, table=cached)
            what = f"SELECT {cached}"
            rows.append((what, arm.name, len(of_table), scans, "pg_stat_user_tables: scans", True))
    return rows


def _their_database(spans: pd.DataFrame, grown: pd.DataFrame) -> list[tuple[object, ...]]:
    """Somebody else's database, one for all arms, if it was asked.

    Shown and not judged: a transaction of theirs may hold several statements, and nobody here
    knows who else uses that database.
    """
    total = _transactions(grown, None)
    if total is None:
        return []
    calls = database_calls(spans)
    sent = calls[~_never_sent(calls)]
    return [("database calls", None, len(sent), total, TRANSACTIONS, False)]


def _their_redis(spans: pd.DataFrame, grown: pd.DataFrame) -> list[tuple[object, ...]]:
    """Somebody else's Redis, if it was asked: the commands that the spans name, and its hits."""
    calls = spans[spans["db_system"] == "redis"]
    rows: list[tuple[object, ...]] = []
    named = calls["db_operation"].fillna(calls["name"].str.split(" ").str[0])  # as OpenTelemetry's
    for operation, seen in named.value_counts().items():
        counted = _sum(grown, "redis", "command_calls", command=str(operation).lower())
        if counted is not None:
            witness = "Redis INFO: command_calls"
            rows.append((f"cache calls: {operation}", None, int(seen), counted, witness, False))
    told = spans["cache_hit"].dropna()
    hits = _sum(grown, "redis", "keyspace_hits")
    if hits is not None and not told.empty:
        rows.append(
            ("cache hits", None, int(told.sum()), hits, "Redis INFO: keyspace_hits", False)
        )
    return rows


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
    noted = calls["attributes"].str.contains(POOL_WAIT_ATTRIBUTE, regex=False, na=False)
    return (calls["status"] == "ERROR") & ~noted & bool(noted.any())


def _redis(
    manifest: Manifest, spans: pd.DataFrame, grown: pd.DataFrame
) -> list[tuple[object, ...]]:
    calls = spans[spans["db_system"] == "redis"]
    rows: list[tuple[object, ...]] = []
    for arm in manifest.arms:
        of_arm = calls[calls["arm"] == arm.name]
        own = of_arm["attributes"]
        answered = unanswered(of_arm).empty
        for what in ("hits", "misses"):
            seen = numbers(own, f"worthit.redis.{what}").sum()
            counted = _sum(grown, "redis", f"keyspace_{what}", arm=arm.name)
            if counted is None and own.empty:
                continue
            witness = f"Redis INFO: keyspace_{what}"
            rows.append((f"cache {what}", arm.name, float(seen), counted, witness, answered))
    return rows


def _llm(spans: pd.DataFrame, llm_calls: pd.DataFrame) -> list[tuple[object, ...]]:
    if llm_calls.empty:
        return []
    rows: list[tuple[object, ...]] = []
    for kind in ("chat", "embeddings"):
        is_call = (spans["kind"] == "CLIENT") & spans["name"].str.startswith(f"{kind} ")
        logged = int((llm_calls["kind"] == kind).sum())
        rows.append(
            (f"LLM calls: {kind}", None, int(is_call.sum()), logged, "logs/llm.jsonl", True)
        )
    return rows


def _requests(spans: pd.DataFrame, requests: pd.DataFrame) -> list[tuple[object, ...]]:
    if requests.empty:
        return []
    answered = requests.loc[requests["status_code"].notna(), "trace_id"]
    seen = pd.Index(roots(spans)["trace_id"].unique())
    both = int(answered.isin(seen).sum())
    return [("requests answered", None, both, len(answered), "the load generator's rows", True)]


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


def _object(text: object) -> dict[str, object]:
    try:
        parsed = json.loads(str(text))
    except json.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
