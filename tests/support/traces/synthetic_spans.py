"""Spans of the reference service's chat request, whole blocks at a time, of known truth."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tests.support.runs.synthetic_run import Truth

GAP_NS = 50_000
"""Self time of a parent before, between and after its children."""

DB = {"db_system": "postgresql"}
REDIS = {"db_system": "redis"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """The requests of one block. ``shared`` draws alike in both arms of a pair, ``own`` not."""

    first_trace: int
    arm: str
    step: int
    block: int
    draw: NDArray[np.int64]
    sent_ns: NDArray[np.int64]
    shared: np.random.Generator
    own: np.random.Generator
    machine: float = 1.0
    """By how much the block's machine is slow; what is elsewhere, as the LLM, is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """One kind of span in every request of the block (or in those of ``mask``)."""

    name: str
    parent: str | None
    duration_ns: NDArray[np.int64]
    start_ns: NDArray[np.int64]
    kind: str = "CLIENT"
    columns: dict[str, Any]
    attributes: list[dict[str, Any]]
    mask: NDArray[np.bool_] | None = None


Columns = dict[str, NDArray[np.object_]]
"""A table, column by column: many small blocks are put together faster so than as data frames."""


def chat_spans(arrivals: Arrivals, truth: Truth) -> tuple[Columns, Columns]:
    """All spans of the block, and its roots alone in order of arrival."""
    n = len(arrivals.draw)
    cached = truth.cache and arrivals.arm == "on"
    name = arrivals.shared.zipf(1.3, n) % truth.personalities
    user = arrivals.shared.integers(0, truth.users, n)
    cold = arrivals.shared.uniform(size=n) >= truth.hit_rate
    spans: list[_Span] = []
    now = arrivals.sent_ns + 300_000
    now = _lookup(spans, arrivals, truth, now, name=name, cold=cold, cached=cached)
    for stage, table, verb, stage_ms, query_ms in (
        ("preferences.load", "preferences", "SELECT", 72.0, 4.0),
        ("memory.retrieve", "memories", "SELECT", 320.0, 12.0),
        ("emotion.detect", "", "", 175.0, 0.0),
        ("conversation.load", "turns", "SELECT", 60.0, 3.0),
        ("", "", "", 0.0, 0.0),
        ("conversation.append", "turns", "INSERT", 70.0, 4.0),
    ):
        if not stage:
            now = _llm(spans, arrivals, truth, now, name="chat sim-chat", parent="root")
            continue
        key = user if stage == "preferences.load" else None
        now = _stage(
            spans,
            arrivals,
            truth,
            now,
            stage=stage,
            table=table,
            verb=verb,
            stage_ms=stage_ms,
            query_ms=query_ms,
            key=key,
        )
    return _frame(spans, arrivals, now)


def _lookup(
    spans: list[_Span],
    arrivals: Arrivals,
    truth: Truth,
    now: NDArray[np.int64],
    *,
    name: NDArray[np.int64],
    cold: NDArray[np.bool_],
    cached: bool,
) -> NDArray[np.int64]:
    n = len(cold)
    start, database = now, np.ones(n, dtype=bool)
    inside = now + GAP_NS
    if cached:
        database = cold
        took = _redis(arrivals, truth)
        counts = [
            {"worthit.redis.hits": 2 * (not c), "worthit.redis.misses": 2 * int(c)} for c in cold
        ]
        spans.append(
            _client("MGET", "personality.lookup", inside, took, columns=REDIS, attributes=counts)
        )
        inside = inside + took + GAP_NS
    took = _draw(arrivals, truth, truth.lookup_db_ms, 0.21)
    text = {"db.query.text": "SELECT id, config FROM personalities WHERE name = %s"}
    waited = {"worthit.pool_wait_ns": 20_000}
    emulated = [text | waited | {"worthit.emulated_ns": int(t * 0.9)} for t in took]
    spans.append(
        _client(
            "SELECT personalities",
            "personality.lookup",
            inside,
            took,
            columns=DB | {"db_operation": "SELECT", "db_collection": "personalities"},
            attributes=emulated,
            mask=database,
        )
    )
    inside = inside + np.where(database, took + GAP_NS, 0)
    if cached:
        took = _redis(arrivals, truth)
        none: list[dict[str, Any]] = [{}] * n
        spans.append(
            _client(
                "SET",
                "personality.lookup",
                inside,
                took,
                columns=REDIS,
                attributes=none,
                mask=cold,
            )
        )
        inside = inside + np.where(cold, took + GAP_NS, 0)
    hit: Any = ~cold if cached else None
    source = np.where(database, "database", "redis")
    keys = [
        {"cache.source": s, "worthit.key": f"{k:016x}" if not c else f"{d:016x}"}
        for s, k, c, d in zip(source, name, cold, arrivals.draw, strict=True)
    ]
    spans.append(
        _Span(
            name="personality.lookup",
            parent="root",
            start_ns=start,
            duration_ns=inside - start,
            kind="INTERNAL",
            columns={"cache_hit": hit},
            attributes=keys,
        )
    )
    return inside + GAP_NS


def _stage(
    spans: list[_Span],
    arrivals: Arrivals,
    truth: Truth,
    now: NDArray[np.int64],
    *,
    stage: str,
    table: str,
    verb: str,
    stage_ms: float,
    query_ms: float,
    key: NDArray[np.int64] | None,
) -> NDArray[np.int64]:
    n = len(now)
    whole = _draw(arrivals, truth, stage_ms, 0.2)
    inside = now + GAP_NS
    if stage == "memory.retrieve":
        inside = _llm(spans, arrivals, truth, inside, name="embeddings sim-embed", parent=stage)
    if table:
        took = _draw(arrivals, truth, query_ms, 0.2)
        text = {"db.query.text": f"{verb} {table} ... %s"}
        columns = DB | {"db_operation": verb, "db_collection": table}
        spans.append(
            _client(f"{verb} {table}", stage, inside, took, columns=columns, attributes=[text] * n)
        )
        inside = inside + took
    end = np.maximum(inside + GAP_NS, now + whole)
    keys = [{}] * n if key is None else [{"worthit.key": f"{k:016x}"} for k in key]
    marked = [
        k | {"worthit.emulated_ns": int(e - i)} for k, e, i in zip(keys, end, inside, strict=True)
    ]
    spans.append(
        _Span(
            name=stage,
            parent="root",
            start_ns=now,
            duration_ns=end - now,
            kind="INTERNAL",
            columns={},
            attributes=marked,
        )
    )
    return end + GAP_NS


def _llm(
    spans: list[_Span],
    arrivals: Arrivals,
    truth: Truth,
    now: NDArray[np.int64],
    *,
    name: str,
    parent: str,
) -> NDArray[np.int64]:
    chat = name.startswith("chat")
    elsewhere = replace(arrivals, machine=1.0)
    took = _draw(elsewhere, truth, truth.llm_ms if chat else 30.0, truth.llm_sigma)
    if chat and arrivals.arm == "on":
        took = (took * (1 + truth.end_to_end_change)).astype(np.int64)
    operation = {"gen_ai.operation.name": name.split(maxsplit=1)[0]}
    marked = [operation | {"worthit.emulated_ns": int(t)} for t in took]
    spans.append(_client(name, parent, now, took, columns={}, attributes=marked))
    return now + took + GAP_NS


def _redis(arrivals: Arrivals, truth: Truth) -> NDArray[np.int64]:
    """A cache call's durations in ns, of the arm's own stream: the other arm makes none."""
    alike = np.exp(arrivals.own.normal(0, 0.15, len(arrivals.draw)))
    return np.asarray(truth.lookup_redis_ms * 1e6 * alike, dtype=np.int64)


def _draw(arrivals: Arrivals, truth: Truth, median_ms: float, sigma: float) -> NDArray[np.int64]:
    """Log-normal durations in ns: the same in both arms of a pair but for ``truth.noise``."""
    n = len(arrivals.draw)
    alike = np.exp(arrivals.shared.normal(0, sigma, n))
    unlike = np.exp(arrivals.own.normal(0, truth.noise, n)) if truth.noise else 1.0
    return np.asarray(median_ms * 1e6 * alike * unlike * arrivals.machine, dtype=np.int64)


def _client(
    name: str,
    parent: str,
    start: NDArray[np.int64],
    took: NDArray[np.int64],
    *,
    columns: dict[str, Any],
    attributes: list[dict[str, Any]],
    mask: NDArray[np.bool_] | None = None,
) -> _Span:
    if columns.get("db_system") == "redis":
        columns = columns | {"db_operation": name}
    return _Span(
        name=name,
        parent=parent,
        start_ns=start,
        duration_ns=took,
        columns=columns,
        attributes=attributes,
        mask=mask,
    )


def _frame(
    spans: list[_Span], arrivals: Arrivals, end: NDArray[np.int64]
) -> tuple[Columns, Columns]:
    """All spans of the block column by column, and the roots alone."""
    n = len(arrivals.draw)
    traces = np.array([f"{arrivals.first_trace + i:032x}" for i in range(n)], dtype=object)
    root = _Span(
        name="POST /chat",
        parent=None,
        start_ns=arrivals.sent_ns + 200_000,
        duration_ns=end - arrivals.sent_ns - 200_000,
        kind="SERVER",
        columns={},
        attributes=[
            {"http.route": "/chat", "http.response.status_code": 200, "worthit.draw": int(d)}
            for d in arrivals.draw
        ],
    )
    order = {span.name: number for number, span in enumerate(spans, start=1)}
    parts = [
        _columns(span, number, order, arrivals, traces)
        for number, span in enumerate([root, *spans])
    ]
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return whole, parts[0]


def _columns(
    span: _Span,
    number: int,
    order: dict[str, int],
    arrivals: Arrivals,
    traces: NDArray[np.object_],
) -> Columns:
    """One kind of span; ids are the trace's number times 32 plus the kind's."""
    n = len(traces)
    chosen = np.flatnonzero(np.ones(n, bool) if span.mask is None else span.mask)
    first = arrivals.first_trace
    above = None if span.parent is None else order.get(span.parent, 0)

    def ids(kind: int) -> list[str]:
        return [f"{(first + int(i)) * 32 + kind:016x}" for i in chosen]

    values: dict[str, Any] = {
        "span_id": ids(number),
        "parent_span_id": [None] * len(chosen) if above is None else ids(above),
        "attributes": [json.dumps(span.attributes[i]) for i in chosen],
    }
    same = {
        "service": "chat",
        "name": span.name,
        "kind": span.kind,
        "status": "UNSET",
        "arm": arrivals.arm,
        "step": arrivals.step,
        "block": arrivals.block,
        "db_system": None,
        "db_operation": None,
        "db_collection": None,
        "cache_hit": None,
    } | span.columns
    result: Columns = {
        "trace_id": traces[chosen],
        "start_ns": span.start_ns[chosen].astype(object),
        "duration_ns": span.duration_ns[chosen].astype(object),
    }
    for name, value in (same | values).items():
        column = np.empty(len(chosen), dtype=object)
        whole = isinstance(value, np.ndarray)
        column[:] = value[chosen] if whole else value
        result[name] = column
    return result
