"""Does the database work less?

Queries per request, per second and per statement; how many times fewer the cache makes them; how
many connections are busy (Little's law: L = lambda W); how long requests waited for one.

Answer of ``by_step``: arm, step, offered_per_s, achieved_per_s, collection (none for all),
per_request, per_s, busy_connections, held_s_per_request (how long a request holds connections). Of
``reductions``: arm, step (none for all), collection (none
for all), before, after (per request), factor, saved_per_request, saved_per_s. Of ``hit_rates``:
arm, step, lookups, hit_rate, predicted_factor. Of ``statements``: arm, statement, collection,
per_request, mean_ms, per_s. Of ``pool_waits``: arm, waits, wait_ms, waited_share, longest_ms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.checks.cross_checks import is_database_call
from analysis.formats.attributes import numbers_of
from analysis.questions.measured import Measured
from analysis.questions.rows import typed
from analysis.rundir.blocks import by_block
from analysis.rundir.manifest import Manifest
from analysis.stats.intervals import (
    Estimate,
    Floats,
    difference,
    mean,
    nothing,
    rate,
    rate_ratio,
    ratio_of_sums,
    share,
)

POOL_WAIT = "worthit.pool_wait_ns"
"""The attribute that says how long a query waited for its connection."""

WAITED_MS = 1.0
"""Taking a free connection costs tens of microseconds; above this a query stood in line."""

ALL_STATEMENTS = None
"""Stands in the column ``collection`` for all queries together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRow:
    """The load of an arm at a load level."""

    arm: str | None
    """Which arm; none where the run names none."""
    step: int
    offered_per_s: float
    achieved_per_s: float
    collection: str | None
    """None for all queries together."""
    per_request: Estimate
    """Queries per request."""
    per_s: Estimate
    """Queries per second."""
    busy_connections: Estimate
    held_s_per_request: Estimate
    """How long a request holds connections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReductionRow:
    """How many times fewer queries an arm makes than the baseline."""

    arm: str
    """The arm that is held against the baseline."""
    step: int | None
    """None for all together."""
    collection: str | None
    """None for all queries together."""
    before: Estimate
    """Queries per request of the baseline."""
    after: Estimate
    """Queries per request of the arm."""
    factor: Estimate
    """Before over after."""
    saved_per_request: Estimate
    saved_per_s: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class HitRateRow:
    """How often the cache hit, and the reduction that this predicts."""

    arm: str
    """The arm with the cache."""
    step: int | None
    """None for all together."""
    lookups: int
    hit_rate: Estimate
    predicted_factor: Estimate
    """1 / (1 - hit rate)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedRow:
    """Queries per second on the cached collection that the hit rate predicts."""

    arm: str
    step: int
    offered_per_s: float
    collection: str | None
    per_s: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementRow:
    """One statement in one arm."""

    arm: str | None
    """Which arm; none where the run names none."""
    statement: str
    collection: str | None
    per_request: Estimate
    mean_ms: Estimate
    per_s: Estimate
    """At the highest load level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolWaitRow:
    """How long queries waited for a connection."""

    arm: str | None
    """Which arm; none where the run names none."""
    waits: int
    wait_ms: Estimate
    waited_share: Estimate
    """Share of the queries that waited over 1 ms."""
    longest_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseLoad:
    """What the database does."""

    by_step: tuple[LoadRow, ...]
    reductions: tuple[ReductionRow, ...]
    hit_rates: tuple[HitRateRow, ...]
    predicted: tuple[PredictedRow, ...]
    statements: tuple[StatementRow, ...]
    pool_waits: tuple[PoolWaitRow, ...]


def answer(measured: Measured) -> DatabaseLoad:
    """What the database does, by load level, statement and arm."""
    manifest, blocks, calls = measured.manifest, measured.blocks, measured.calls
    load = by_step(manifest, calls, blocks)
    rates = hit_rates(manifest, measured.spans, blocks)
    return DatabaseLoad(
        by_step=measured.once(load_rows),
        reductions=typed(reductions(manifest, calls, blocks), ReductionRow),
        hit_rates=typed(rates, HitRateRow),
        predicted=typed(predictions(load, rates, manifest), PredictedRow),
        statements=typed(statements(manifest, calls, blocks), StatementRow),
        pool_waits=typed(pool_waits(manifest, calls, blocks), PoolWaitRow),
    )


def load_rows(measured: Measured) -> tuple[LoadRow, ...]:
    """``by_step`` of a run, shared with what else needs it (``measured.once(load_rows)``)."""
    return typed(by_step(measured.manifest, measured.calls, measured.blocks), LoadRow)


def by_step(manifest: Manifest, spans: pd.DataFrame, blocks: pd.DataFrame) -> pd.DataFrame:
    """Load on the database by arm and step, for each collection and for all together."""
    columns = [
        "arm", "step", "offered_per_s", "achieved_per_s", "collection", "per_request", "per_s",
        "busy_connections", "held_s_per_request",
    ]  # fmt: skip
    calls = calls_of(manifest, spans)
    seen = sorted(calls["db_collection"].dropna().unique())
    rows = []
    for (arm, step), own in blocks.groupby(["arm", "step"], dropna=False, sort=False):
        offered = float(own["rate_per_s"].iloc[0])
        achieved = float(own["requests"].sum() / own["seconds"].sum())
        here = calls[calls["block"].isin(own["block"])]
        for collection in (ALL_STATEMENTS, *seen):
            chosen = here if collection is None else here[here["db_collection"] == collection]
            named = arm if isinstance(arm, str) else None
            rows.append((named, step, offered, achieved, collection, *_load(chosen, own)))
    return pd.DataFrame(rows, columns=columns)


def reductions(manifest: Manifest, spans: pd.DataFrame, blocks: pd.DataFrame) -> pd.DataFrame:
    """Queries per request without over with, for the cached collection and for all queries."""
    columns = [
        "arm", "step", "collection", "before", "after", "factor", "saved_per_request",
        "saved_per_s",
    ]  # fmt: skip
    calls = calls_of(manifest, spans)
    rows = []
    for arm in manifest.treatments if manifest.baseline else ():
        both = blocks[blocks["arm"].isin([manifest.baseline, arm])]
        scopes: list[tuple[int | None, pd.DataFrame]] = [(None, both)]
        scopes += [(int(str(step)), part) for step, part in both.groupby("step")]
        for step, part in scopes:
            for collection in dict.fromkeys((manifest.cached_collection, ALL_STATEMENTS)):
                chosen = calls
                if collection is not None:
                    chosen = calls[calls["db_collection"] == collection]
                counts = chosen.groupby("block").size()
                rows.append(
                    (arm, step, collection, *_reduction(counts, part, str(manifest.baseline), arm))
                )
    return pd.DataFrame(rows, columns=columns)


def hit_rates(manifest: Manifest, spans: pd.DataFrame, blocks: pd.DataFrame) -> pd.DataFrame:
    """Hit rate of the cached operation by arm and step, and the reduction that it predicts."""
    columns = ["arm", "step", "lookups", "hit_rate", "predicted_factor"]
    if manifest.cached_operation is None:
        return pd.DataFrame(columns=columns)
    lookups = spans[(spans["name"] == manifest.cached_operation) & spans["cache_hit"].notna()]
    hit = lookups["cache_hit"].astype(bool)
    seen = lookups.groupby("block").size()
    missed = lookups[~hit].groupby("block").size()
    rows = []
    for arm in dict.fromkeys(blocks["arm"]):
        own = blocks[blocks["arm"] == arm]
        if without_cache(manifest, arm):
            continue
        if arm == manifest.baseline and not hit[lookups["arm"] == arm].any():
            continue  # an older manifest says nothing of caches
        scopes: list[tuple[int | None, pd.DataFrame]] = [(None, own)]
        scopes += [(int(str(step)), part) for step, part in own.groupby("step")]
        for step, part in scopes:
            asked = by_block(seen, part["block"])
            if not asked.sum():
                continue
            misses = share(by_block(missed, part["block"]), asked)
            rows.append(
                (arm, step, int(asked.sum()), misses.complement(), predicted_factor(misses))
            )
    return pd.DataFrame(rows, columns=columns)


def predictions(load: pd.DataFrame, rates: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    """Queries a second on the cached collection that the hit rate predicts, by arm and step.

    The baseline's queries per request times the arm's own miss rate and achieved rate; nothing
    where the baseline has the cache too. Columns arm, step, offered_per_s, collection, per_s.
    """
    columns = ["arm", "step", "offered_per_s", "collection", "per_s"]
    if (rates["arm"] == manifest.baseline).any():
        return pd.DataFrame(columns=columns)  # the baseline's own misses are no queries "without"
    about = load[load["collection"] == manifest.cached_collection]
    before = about[about["arm"] == manifest.baseline].set_index("step")["per_request"]
    rows = []
    for one in rates[rates["step"].notna()].to_dict("records"):
        here = about[(about["arm"] == one["arm"]) & (about["step"] == one["step"])]
        if here.empty or one["step"] not in before.index or one["arm"] == manifest.baseline:
            continue
        misses: Estimate = one["hit_rate"].complement()
        achieved = float(here["achieved_per_s"].iloc[0])
        factor = achieved * (before[one["step"]].value or 0.0)
        offered = float(here["offered_per_s"].iloc[0])
        predicted = misses.scaled(factor, "per_s") if factor else nothing("per_s", "no queries")
        rows.append((one["arm"], one["step"], offered, manifest.cached_collection, predicted))
    return pd.DataFrame(rows, columns=columns)


def predicted_factor(miss_rate: Estimate) -> Estimate:
    """R = 1 / (1 - h), the law that the cache should follow, from the miss rate 1 - h.

    Without a miss it has a lower end alone.
    """
    low = None if not miss_rate.high else 1.0 / miss_rate.high
    if not miss_rate.value:
        why = miss_rate.reason or "no miss was seen, so the factor has no upper end"
        return replace(miss_rate, value=None, low=low, high=None, unit="ratio", reason=why)
    high = None if not miss_rate.low else 1.0 / miss_rate.low
    return replace(miss_rate, value=1.0 / miss_rate.value, low=low, high=high, unit="ratio")


def without_cache(manifest: Manifest, arm: str) -> bool:
    """Whether the manifest says that an arm has no cache: its lookups all say "no hit" too."""
    return any(one.name == arm and one.redis is False for one in manifest.arms)


def statements(manifest: Manifest, spans: pd.DataFrame, blocks: pd.DataFrame) -> pd.DataFrame:
    """Queries per request and mean time by statement and arm; per second at the top rate."""
    columns = ["arm", "statement", "collection", "per_request", "mean_ms", "per_s"]
    calls = calls_of(manifest, spans)
    calls = calls.assign(ms=calls["duration_ns"].astype("float64") / 1e6)
    rows = []
    for arm, own in blocks.groupby("arm", dropna=False, sort=False):
        here = calls[calls["block"].isin(own["block"])]
        for (name, collection), chosen in here.groupby(["name", "db_collection"], dropna=False):
            per_request, *_ = _load(chosen, own)
            top = own[own["rate_per_s"] == own["rate_per_s"].max()]
            _, per_s, *_ = _load(chosen[chosen["block"].isin(top["block"])], top)
            means = chosen.groupby("block")["ms"].mean().to_numpy(np.float64)
            times = mean(means, unit="ms", n=len(chosen))
            named = arm if isinstance(arm, str) else None
            table = collection if isinstance(collection, str) else None
            rows.append((named, name, table, per_request, times, per_s))
    return pd.DataFrame(rows, columns=columns)


def pool_waits(manifest: Manifest, spans: pd.DataFrame, blocks: pd.DataFrame) -> pd.DataFrame:
    """How long queries waited for a connection before they began, as the service's pool saw it.

    A wait under ``WAITED_MS`` is the price of taking a free connection.
    """
    columns = ["arm", "waits", "wait_ms", "waited_share", "longest_ms"]
    calls = calls_of(manifest, spans)
    waits = calls.assign(ms=numbers_of(calls, POOL_WAIT) / 1e6).dropna(subset=["ms"])
    rows = []
    for arm, own in blocks.groupby("arm", dropna=False, sort=False):
        here = waits[waits["block"].isin(own["block"])]
        if here.empty:
            continue
        groups = here.groupby("block")["ms"]
        seen = by_block(groups.size(), own["block"])
        total = by_block(groups.sum(), own["block"])
        long = by_block(here[here["ms"] > WAITED_MS].groupby("block").size(), own["block"])
        named = arm if isinstance(arm, str) else None
        n = len(here)
        mean_ms = ratio_of_sums(total, seen, unit="ms", n=n)
        waited = share(long, seen, n=n)
        rows.append((named, n, mean_ms, waited, float(here["ms"].max())))
    return pd.DataFrame(rows, columns=columns)


def calls_of(manifest: Manifest, spans: pd.DataFrame) -> pd.DataFrame:
    """The logical queries and ``held_ns``; without blocks all belong to the one block.

    Every function here takes spans, or what this gives: finding the queries once is cheaper.
    """
    if "held_ns" in spans.columns:
        return spans
    waited = POOL_WAIT if POOL_WAIT in spans.columns else "attributes"
    columns = ["name", "arm", "block", "db_collection", "duration_ns", waited]
    calls = spans.loc[is_database_call(spans), columns]
    calls = calls.assign(held_ns=held_ns(calls))
    return calls if manifest.blocks else calls.assign(block=0)


def held_ns(calls: pd.DataFrame) -> pd.Series[float]:
    """Time that each query held its connection: its span without the wait for a connection."""
    waited = numbers_of(calls, POOL_WAIT).fillna(0.0)
    return (calls["duration_ns"].astype("float64") - waited).clip(lower=0.0)


def _load(
    calls: pd.DataFrame, blocks: pd.DataFrame
) -> tuple[Estimate, Estimate, Estimate, Estimate]:
    """Queries per request and per second, busy connections, and how long a request holds them."""
    counts = by_block(calls.groupby("block").size(), blocks["block"])
    held_s = by_block(calls.groupby("block")["held_ns"].sum(), blocks["block"]) / 1e9
    seconds = blocks["seconds"].to_numpy(np.float64)
    sent = blocks["requests"].to_numpy(np.float64)
    n, queries = int(blocks["requests"].sum()), int(counts.sum())
    per_request = rate(counts, sent, unit="per_request", n=n)
    per_s = rate(counts, seconds, unit="per_s", n=n)
    busy = mean(
        held_s / seconds,
        unit="connections",
        n=queries,
        method="time in queries over time, by block, t(K-1)",
    )
    held = (
        ratio_of_sums(held_s, sent, unit="s", n=queries)
        if queries
        else nothing("s", "no query was made", blocks=len(blocks))
    )
    return per_request, per_s, busy, held


def _reduction(
    counts: pd.Series, part: pd.DataFrame, baseline: str, arm: str
) -> tuple[Estimate, ...]:
    """Before, after, factor, and the queries saved a request and a second."""
    sides: list[tuple[Floats, Floats]] = []
    rates = []
    for name in (baseline, arm):
        own = part[part["arm"] == name]
        requests = own["requests"].to_numpy(np.float64)
        events = by_block(counts, own["block"])
        sides.append((events, requests))
        rates.append(rate(events, requests, unit="per_request"))
    n = int(part["requests"].sum())
    treated = part[part["arm"] == arm]
    per_second = treated["requests"].sum() / max(float(treated["seconds"].sum()), 1e-9)
    saved = difference(rates[0], rates[1])
    factor = rate_ratio(sides[0], sides[1], n=n)
    return (*rates, factor, saved, saved.scaled(max(per_second, 1e-12), "per_s"))
