"""A whole run directory of known truth: what analysis should find is put in by hand.

``write_run(folder)`` gives two arms (off, on), three rates and six pairs of blocks in ABBA order,
with spans as the reference service makes them, requests, counters, events, a simulator log and a
manifest. Both blocks of a pair draw the same users, personalities and LLM times. What is true of
it is in ``Truth``, what is wrong with it in ``Damage``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.traces.synthetic_spans import Arrivals, Columns, chat_spans
from worthit.contract.tables import TABLES

START_NS = 1_795_442_400_000_000_000
"""Beginning of every synthetic run: fixed, so that two runs of one seed are equal."""

WARMUP_REQUESTS = 40
"""Arrivals of the warm-up block of each arm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What is true of the synthetic service; times in milliseconds are medians."""

    rates_per_s: tuple[float, ...] = (10.0, 20.0, 40.0)
    pairs: int = 6
    block_s: float = 4.0
    cache: bool = True
    """False: the arm `on` does exactly what the arm `off` does, an A/A run."""
    hit_rate: float = 0.95
    lookup_db_ms: float = 7.0
    lookup_redis_ms: float = 0.6
    llm_ms: float = 2800.0
    llm_sigma: float = 0.21
    noise: float = 0.0
    """Relative size of the noise that two requests of one draw do not share, on every stage."""
    end_to_end_change: float = 0.0
    """Relative change of the LLM's time in the arm `on`, for planting an effect."""
    mood: float = 0.0
    """Relative size of each block's own factor on all that this machine does."""
    drift: float = 0.0
    """The same of the steps of a random walk from block to block."""
    database_cpu_ms: float = 0.0
    """CPU of PostgreSQL per request, counted by arm at each block's start; 0: not counted."""
    personalities: int = 50
    users: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What is wrong with the run, for the verdict to find. The default damages nothing."""

    lag_ms: float = 0.2
    lose_traces: int = 0
    orphan_spans: int = 0
    dropped: int = 0
    achieved_share: float = 1.0
    worker_cpu: float = 0.4
    refused_batches: int = 0
    undecodable_bytes: int = 0
    extra_commits: int = 0
    extra_hits: int = 0
    llm_calls_lost: int = 0
    llm_late_ms: float = 0.0
    error_share: float = 0.0
    complete: bool = True
    empty: bool = False


SPAN_COLUMNS = (
    "trace_id", "span_id", "parent_span_id", "service", "name", "kind", "start_ns", "duration_ns",
    "status", "arm", "step", "block", "db_system", "db_operation", "db_collection", "cache_hit",
    "attributes",
)  # fmt: skip
"""The spans table's columns in the format's order."""

INVALID = Damage(lag_ms=900.0, achieved_share=0.8, dropped=12, extra_commits=5)
"""A run whose generator and cross-checks both failed it."""

EMPTY = Damage(empty=True)
"""A run in which nothing was ever sent."""


@dataclass(slots=True, kw_only=True)
class _Made:
    blocks: list[dict[str, Any]] = field(default_factory=list)
    spans: list[Columns] = field(default_factory=list)
    requests: list[pd.DataFrame] = field(default_factory=list)
    llm: list[dict[str, Any]] = field(default_factory=list)
    clock_ns: int = START_NS + 1_000_000_000
    traces: int = 0
    walked: float = 1.0
    """Where the machine's random walk is."""
    cpu_s: list[tuple[int, str, float]] = field(default_factory=list)
    """What a block's requests took of PostgreSQL's CPU: when it began, and whose it was."""


def write_run(
    folder: Path, truth: Truth | None = None, damage: Damage | None = None, *, seed: int = 1
) -> Path:
    """Write a run directory to ``folder`` (made if need be) and give its path."""
    truth, damage = truth or Truth(), damage or Damage()
    made = _Made()
    for arm in ("off", "on"):
        _add_block(
            made,
            truth,
            damage,
            arm=arm,
            pair=truth.pairs * len(truth.rates_per_s),
            step=0,
            warmup=True,
            seed=seed,
        )
    steps = len(truth.rates_per_s)
    for repeat in range(truth.pairs):
        arms = ("off", "on") if repeat % 2 == 0 else ("on", "off")
        for step in range(steps):
            pair = repeat * steps + step
            for arm in arms:
                _add_block(
                    made, truth, damage, arm=arm, pair=pair, step=step, warmup=False, seed=seed
                )
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for name in SPAN_COLUMNS if name in made.spans[0]]
    spans = pd.DataFrame(
        {name: np.concatenate([part[name] for part in made.spans]) for name in names}
    )
    requests = pd.concat(made.requests, ignore_index=True)
    counters = _counters(spans, made, damage)
    spans = _damaged(spans, requests, damage)
    if damage.empty:
        spans, requests, counters = spans.iloc[:0], requests.iloc[:0], counters.iloc[:0]
    _write(folder / "spans.parquet", spans)
    _write(folder / "requests.parquet", requests)
    _write(folder / "counters.parquet", counters)
    _write(folder / "events.parquet", _events(made))
    (folder / "logs").mkdir(exist_ok=True)
    kept = [] if damage.empty else made.llm[damage.llm_calls_lost :]
    (folder / "logs" / "llm.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    manifest = _manifest(made, truth, damage, seed, spans=len(spans), requests=len(requests))
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
    return folder


def write_foreign_run(folder: Path, *, requests: int = 300, seed: int = 1) -> Path:
    """A run of somebody else's service: spans only, no arms, no blocks, no requests, no cache."""
    write_run(folder, Truth(rates_per_s=(50.0,), pairs=1, block_s=requests / 50.0), seed=seed)
    spans = pd.read_parquet(folder / "spans.parquet")
    spans = spans[spans["arm"] == "off"].assign(arm=None, step=None, block=None, cache_hit=None)
    _write(folder / "spans.parquet", spans)
    for table in ("requests", "counters", "events"):
        _write(folder / f"{table}.parquet", pd.read_parquet(folder / f"{table}.parquet").iloc[:0])
    (folder / "logs" / "llm.jsonl").unlink()
    manifest = {
        "format_version": 1,
        "run_id": "20261123T140000Z_foreign",
        "name": "foreign",
        "started_ns": START_NS,
        "ended_ns": START_NS + 10**10,
        "recorded": {"spans": len(spans), "requests": 0},
        "verdict": {"verdict": "VALID", "reasons": []},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
    return folder


def _add_block(
    made: _Made,
    truth: Truth,
    damage: Damage,
    *,
    arm: str,
    pair: int,
    step: int,
    warmup: bool,
    seed: int,
) -> None:
    rate = truth.rates_per_s[step]
    planned = WARMUP_REQUESTS if warmup else round(rate * truth.block_s)
    duration_s = planned / rate
    shared = np.random.default_rng([seed, pair, step])
    own = np.random.default_rng([seed, pair, step, 0 if arm == "off" else 1])
    gaps = np.sort(shared.uniform(0, duration_s, planned))
    intended = made.clock_ns + (gaps * 1e9).astype(np.int64)
    lag = own.exponential(damage.lag_ms / 4.6, planned)  # p99 of an exponential is 4.6 means
    block = len(made.blocks)
    moods = np.random.default_rng([seed, block, 7])  # apart from the draws, which stay as they are
    made.walked *= float(np.exp(moods.normal(0.0, truth.drift)))
    machine = made.walked * float(np.exp(moods.normal(0.0, truth.mood)))
    taken = moods.lognormal(0.0, 0.5, planned).sum() * truth.database_cpu_ms / 1e3 * machine
    made.cpu_s.append((made.clock_ns, arm, float(taken)))
    arrivals = Arrivals(
        first_trace=made.traces + 1,
        arm=arm,
        step=step,
        block=block,
        draw=(pair * 1000 + step) * 1_000_000 + np.arange(planned),
        sent_ns=intended + (lag * 1e6).astype(np.int64),
        shared=shared,
        own=own,
        machine=machine,
    )
    spans, roots = chat_spans(arrivals, truth)
    failed = own.uniform(size=planned) < damage.error_share
    end_ns = arrivals.sent_ns + roots["duration_ns"].astype(np.int64) + 400_000
    made.requests.append(
        pd.DataFrame(
            {
                "trace_id": roots["trace_id"],
                "scenario": "chat",
                "name": "POST /chat",
                "arm": arm,
                "step": step,
                "block": block,
                "draw": arrivals.draw,
                "intended_ns": intended,
                "sent_ns": arrivals.sent_ns,
                "end_ns": end_ns,
                "status_code": np.where(failed, 503, 200),
                "error": np.where(failed, "database busy", None),
                "response_bytes": 420,
            }
        )
    )
    made.spans.append(spans)
    made.llm.extend(_llm_log(spans, arrivals, damage))
    made.blocks.append(
        {
            "block": block,
            "pair": pair,
            "arm": arm,
            "step": step,
            "rate_per_s": rate,
            "warmup": warmup,
            "start_ns": made.clock_ns,
            "end_ns": made.clock_ns + int(duration_s * 1e9),
        }
    )
    made.clock_ns += int(duration_s * 1e9)
    made.traces += planned


def _llm_log(spans: Columns, arrivals: Arrivals, damage: Damage) -> list[dict[str, Any]]:
    is_call = np.isin(spans["name"], ["chat sim-chat", "embeddings sim-embed"])
    calls = {name: column[is_call] for name, column in spans.items()}
    draws = np.tile(arrivals.draw, 2)
    kinds = [name.split(maxsplit=1)[0] for name in calls["name"]]
    return [
        {
            "t_ns": int(start),
            "kind": kind,
            "draw": int(draw),
            "trace_id": trace,
            "planned_ns": int(duration) - 300_000,
            "actual_ns": int(duration) - 300_000 + int(damage.llm_late_ms * 1e6),
            "status": 200,
            "input_tokens": 90,
            "output_tokens": 40 if kind == "chat" else 0,
        }
        for start, kind, draw, trace, duration in zip(
            calls["start_ns"], kinds, draws, calls["trace_id"], calls["duration_ns"], strict=True
        )
    ]


def _damaged(spans: pd.DataFrame, requests: pd.DataFrame, damage: Damage) -> pd.DataFrame:
    lost = requests["trace_id"].tail(damage.lose_traces)
    spans = spans[~spans["trace_id"].isin(lost)].reset_index(drop=True)
    if damage.orphan_spans:
        rows = spans.index[spans["db_collection"] == "preferences"][-damage.orphan_spans :]
        spans.loc[rows, "parent_span_id"] = "f" * 16
    return spans


def _counters(spans: pd.DataFrame, made: _Made, damage: Damage) -> pd.DataFrame:
    totals: list[tuple[str, str, dict[str, str], float]] = [("recorder", "spans_refused", {}, 0)]
    for arm in ("off", "on"):
        own = spans[spans["arm"] == arm]
        database = own[own["db_system"] == "postgresql"]
        label = {"database": f"worthit_{arm}"}
        extra = damage.extra_commits if arm == "on" else 0
        totals.append(("postgres", "xact_commit", label, len(database) + extra))
        for (table, operation), calls in database.groupby(["db_collection", "db_operation"]):
            name = "rows_inserted" if operation == "INSERT" else "table_scans"
            totals.append(("postgres", name, label | {"table": table}, len(calls)))
    parsed = spans.loc[spans["db_system"] == "redis", "attributes"].map(json.loads)
    for what, extra in (("hits", damage.extra_hits), ("misses", 0)):
        count = int(sum(row.get(f"worthit.redis.{what}", 0) for row in parsed))
        totals.append(("redis", f"keyspace_{what}", {"arm": "on"}, count + extra))
    rows = []
    for source, name, labels, total in totals:
        start = 17.0  # counters that were not born with the run
        text = json.dumps(labels)
        rows.append((START_NS, source, name, text, start))
        rows.append((made.clock_ns + 10**9, source, name, text, start + total))
    rows += _cpu(made) if any(taken for _, _, taken in made.cpu_s) else []
    return pd.DataFrame(rows, columns=["t_ns", "source", "name", "labels", "value"])


def _cpu(made: _Made) -> list[tuple[int, str, str, str, float]]:
    """CPU seconds of each arm's database, at the start of each of the arm's blocks."""
    rows = []
    for arm in ("off", "on"):
        total, label = 0.0, json.dumps({"database": f"worthit_{arm}"})
        for start_ns, whose, taken in made.cpu_s:
            if whose == arm:
                rows.append((start_ns, "postgres", "cpu_seconds", label, total))
                total += taken
        rows.append((made.clock_ns + 10**9, "postgres", "cpu_seconds", label, total))
    return rows


def _events(made: _Made) -> pd.DataFrame:
    rows = [(START_NS, "run_start", "{}")]
    for block in made.blocks:
        detail = json.dumps({"block": block["block"], "arm": block["arm"]})
        rows.append((block["start_ns"], "block_start", detail))
        rows.append((block["end_ns"], "block_end", detail))
    rows.append((made.clock_ns + 10**9, "run_end", "{}"))
    return pd.DataFrame(rows, columns=["t_ns", "kind", "detail"])


def _manifest(
    made: _Made, truth: Truth, damage: Damage, seed: int, *, spans: int, requests: int
) -> dict[str, Any]:
    steps = list(enumerate(truth.rates_per_s))
    planned = {step: round(rate * truth.block_s) * truth.pairs * 2 for step, rate in steps}
    parts = {name: {"embedded": True} for name in ("postgres", "redis", "llm", "recorder")}
    return {
        "format_version": 1,
        "run_id": f"20261123T140000Z_synthetic-{seed}",
        "name": "synthetic",
        "complete": damage.complete,
        "question": "Is the personality cache worth it?",
        "started_ns": START_NS,
        "ended_ns": made.clock_ns + 10**9,
        "experiment": {"name": "synthetic"},
        "experiment_file": "my/synthetic.toml",
        "seed": seed,
        "profile": "seed",
        "scenario": "chat",
        "arms": [
            {
                "name": arm,
                "env": {"REDIS_ENABLED": "true" if arm == "on" else "false"},
                "baseline": arm == "off",
                "database": f"worthit_{arm}",
                "redis": arm == "on",
                "instances": 1,
            }
            for arm in ("off", "on")
        ],
        "cached_operation": "personality.lookup",
        "cached_collection": "personalities",
        "steps": [{"step": step, "rate_per_s": rate} for step, rate in steps],
        "blocks": made.blocks,
        "machine": {"cpus": 2, "cpu_model": "synthetic", "memory_bytes": 8 << 30, "os": "Linux"},
        "versions": {"worthit": "0.1.0", "postgres": "18", "redis": "6.2", "locust": "2.47"},
        "git_commit": "0" * 40,
        "parts": parts | {"service": {"embedded": True, "instances": 1}},
        "recorded": {
            "spans": spans,
            "requests": requests,
            "bytes": spans * 200,
            "refused_batches": damage.refused_batches,
            "undecodable_bytes": damage.undecodable_bytes,
        },
        "generator": [
            {
                "step": step,
                "offered_per_s": rate,
                "achieved_per_s": rate * damage.achieved_share,
                "arrivals_planned": planned[step],
                "arrivals_sent": planned[step] - damage.dropped,
                "dropped": damage.dropped,
                "lag_p50_ms": damage.lag_ms / 6.6,
                "lag_p99_ms": damage.lag_ms,
                "lag_max_ms": damage.lag_ms * 1.5,
                "in_flight_max": 150,
                "in_flight_cap_hits": 0,
            }
            for step, rate in steps
        ],
        "workers": [{"worker": "0", "cpu_share_max": damage.worker_cpu, "gc_pause_max_ms": 1.0}],
        "cross_checks": [],
    }


def _write(file: Path, table: pd.DataFrame) -> None:
    schema = pa.schema([TABLES[file.stem].field(name) for name in table.columns])
    pq.write_table(pa.Table.from_pandas(table, schema=schema, preserve_index=False), file)
