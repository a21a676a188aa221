"""Does the database work less?

Queries per request, per second and per statement; how many times fewer the cache makes them; how
many connections are busy (Little's law: L = lambda W); how long requests waited for one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from analysis.calltree.sampling import counted, summed, weights_of
from analysis.formats.attributes import numbers_of
from analysis.questions.measured import Measured
from analysis.rundir.blocks import by_block
from analysis.rundir.manifest import Manifest
from analysis.stats.intervals import (
    Estimate,
    Floats,
    decide,
    difference,
    mean,
    nothing,
    rate,
    rate_ratio,
    ratio_of_sums,
    share,
)
from worthit.contract.names import POOL_WAIT_NS as POOL_WAIT

WAITED_MS = 1.0
"""Taking a free connection costs tens of microseconds; above this a query stood in line."""


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
    decided: str
    """Of the factor, with all other comparisons of the run: higher is fewer queries."""


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
    load = measured.once(load_rows)
    rates = hit_rates(manifest, measured.spans, blocks)
    return DatabaseLoad(
        by_step=load,
        reductions=reductions(manifest, calls, blocks),
        hit_rates=rates,
        predicted=tuple(_predicted(load, rates, manifest)),
        statements=tuple(_statements(calls, blocks)),
        pool_waits=pool_waits(calls, blocks),
    )


def load_rows(measured: Measured) -> tuple[LoadRow, ...]:
    """``by_step`` of a run, shared with what else needs it (``measured.once(load_rows)``)."""
    return by_step(measured.calls, measured.blocks)


def by_step(calls: pd.DataFrame, blocks: pd.DataFrame) -> tuple[LoadRow, ...]:
    """Load on the database by arm and step, for each collection and for all together."""
    seen = sorted(calls["db_collection"].dropna().unique())
    rows = []
    for (arm, step), own in blocks.groupby(["arm", "step"], dropna=False, sort=False):
        here = calls[calls["block"].isin(own["block"])]
        for collection in (None, *seen):
            chosen = _of_collection(here, collection)
            n = len(chosen)
            held_s = by_block(summed(chosen["held_ns"], chosen), own["block"]) / 1e9
            sent, seconds = (own[name].to_numpy(np.float64) for name in ("requests", "seconds"))
            rows.append(
                LoadRow(
                    arm=_named(arm),
                    step=int(str(step)),
                    offered_per_s=float(own["rate_per_s"].iloc[0]),
                    achieved_per_s=float(sent.sum() / seconds.sum()),
                    collection=collection,
                    per_request=_queries_per("request", chosen, own),
                    per_s=_queries_per("second", chosen, own),
                    busy_connections=mean(
                        held_s / seconds,
                        unit="connections",
                        n=n,
                        method="time in queries over time, by block, t(K-1)",
                    ).at_least(0.0),
                    held_s_per_request=ratio_of_sums(held_s, sent, unit="s", n=n)
                    if n
                    else nothing("s", "no query was made", blocks=len(own)),
                )
            )
    return tuple(rows)


def _queries_per(
    what: Literal["request", "second"], calls: pd.DataFrame, blocks: pd.DataFrame
) -> Estimate:
    counts = by_block(counted(calls), blocks["block"])
    exposure = blocks["requests" if what == "request" else "seconds"].to_numpy(np.float64)
    unit = "per_request" if what == "request" else "per_s"
    n = int(blocks["requests"].sum())
    return rate(counts, exposure, unit=unit, n=n, weight=heaviest(blocks))


def heaviest(blocks: pd.DataFrame) -> float:
    """How many requests the weightiest trace of some blocks stands for."""
    return float(weights_of(blocks).max()) if len(blocks) else 1.0


def reductions(
    manifest: Manifest, calls: pd.DataFrame, blocks: pd.DataFrame
) -> tuple[ReductionRow, ...]:
    """Queries per request without over with, for the cached collection and for all queries."""
    baseline = manifest.baseline
    if baseline is None:
        return ()
    rows = []
    for arm in manifest.treatments:
        both = blocks[blocks["arm"].isin([baseline, arm])]
        for step, part in _scopes(both):
            for collection in dict.fromkeys((manifest.cached_collection, None)):
                counts = counted(_of_collection(calls, collection))
                rows.append(_reduction(counts, part, (baseline, arm), step, collection))
    return tuple(rows)


def _reduction(
    counts: pd.Series,
    blocks: pd.DataFrame,
    arms: tuple[str, str],
    step: int | None,
    collection: str | None,
) -> ReductionRow:
    """One row from the queries by block; ``arms`` are the baseline and what is held against it."""
    sides: list[tuple[Floats, Floats]] = []
    rates = []
    for name in arms:
        own = blocks[blocks["arm"] == name]
        requests = own["requests"].to_numpy(np.float64)
        events = by_block(counts, own["block"])
        sides.append((events, requests))
        rates.append(rate(events, requests, unit="per_request", weight=heaviest(own)))
    treated = blocks[blocks["arm"] == arms[1]]
    per_second = treated["requests"].sum() / max(float(treated["seconds"].sum()), 1e-9)
    saved = difference(rates[0], rates[1])
    factor = rate_ratio(
        sides[0], sides[1], n=int(blocks["requests"].sum()), weight=heaviest(treated)
    )
    return ReductionRow(
        arm=arms[1],
        step=step,
        collection=collection,
        before=rates[0],
        after=rates[1],
        factor=factor,
        decided=decide(factor, 1.0),
        saved_per_request=saved,
        saved_per_s=saved.scaled(max(float(per_second), 1e-12), "per_s"),
    )


def hit_rates(
    manifest: Manifest, spans: pd.DataFrame, blocks: pd.DataFrame
) -> tuple[HitRateRow, ...]:
    """Hit rate of the cached operation by arm and step, and the reduction that it predicts."""
    if manifest.cached_operation is None:
        return ()
    lookups = spans[(spans["name"] == manifest.cached_operation) & spans["cache_hit"].notna()]
    hit = lookups["cache_hit"].astype(bool)
    seen, missed = counted(lookups), counted(lookups[~hit])
    rows = []
    for arm in dict.fromkeys(blocks["arm"]):
        if without_cache(manifest, arm):
            continue
        if arm == manifest.baseline and not hit[lookups["arm"] == arm].any():
            continue  # an older manifest says nothing of caches
        for step, part in _scopes(blocks[blocks["arm"] == arm]):
            asked = by_block(seen, part["block"])
            if not asked.sum():
                continue
            misses = share(by_block(missed, part["block"]), asked, weight=heaviest(part))
            rows.append(
                HitRateRow(
                    arm=arm,
                    step=step,
                    lookups=int(asked.sum()),
                    hit_rate=misses.complement(),
                    predicted_factor=predicted_factor(misses),
                )
            )
    return tuple(rows)


def _predicted(
    load: Sequence[LoadRow], rates: Sequence[HitRateRow], manifest: Manifest
) -> Iterator[PredictedRow]:
    """Queries per second on the cached collection that the hit rate predicts, by arm and step.

    The baseline's queries per request times the arm's own miss rate and achieved rate; nothing
    where the baseline has the cache too: its own misses are no queries "without".
    """
    if any(row.arm == manifest.baseline for row in rates):
        return
    about = {
        (row.arm, row.step): row for row in load if row.collection == manifest.cached_collection
    }
    for one in rates:
        here = None if one.step is None else about.get((one.arm, one.step))
        before = None if one.step is None else about.get((manifest.baseline, one.step))
        if here is None or before is None:
            continue
        queries_per_s = here.achieved_per_s * (before.per_request.value or 0.0)
        yield PredictedRow(
            arm=one.arm,
            step=here.step,
            offered_per_s=here.offered_per_s,
            collection=manifest.cached_collection,
            per_s=one.hit_rate.complement().scaled(queries_per_s, "per_s")
            if queries_per_s
            else nothing("per_s", "no queries"),
        )


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


def _statements(calls: pd.DataFrame, blocks: pd.DataFrame) -> Iterator[StatementRow]:
    """Queries per request and mean time by statement and arm; per second at the top rate."""
    timed = calls.assign(ms=calls["duration_ns"].astype("float64") / 1e6)
    for arm, own in blocks.groupby("arm", dropna=False, sort=False):
        here = timed[timed["block"].isin(own["block"])]
        top = own[own["rate_per_s"] == own["rate_per_s"].max()]
        groups = here.groupby(["statement", "db_collection"], dropna=False, observed=True)
        names = groups["name"].first().astype("str").rename("first").reset_index()
        names = names.astype({"statement": "str"}).sort_values(["first", "statement"])
        order = groups.ngroup().to_numpy()
        for number, text, collection in zip(
            names.index, names["statement"], names["db_collection"], strict=True
        ):
            chosen = here[order == number]
            means = summed(chosen["ms"], chosen) / counted(chosen)
            yield StatementRow(
                arm=_named(arm),
                statement=text,
                collection=_named(collection),
                per_request=_queries_per("request", chosen, own),
                mean_ms=mean(np.asarray(means, np.float64), unit="ms", n=len(chosen)).at_least(
                    0.0
                ),
                per_s=_queries_per("second", chosen[chosen["block"].isin(top["block"])], top),
            )


def pool_waits(calls: pd.DataFrame, blocks: pd.DataFrame) -> tuple[PoolWaitRow, ...]:
    """How long queries waited for a connection before they began, as the service's pool saw it.

    A wait under ``WAITED_MS`` is the price of taking a free connection.
    """
    waits = calls.assign(ms=numbers_of(calls, POOL_WAIT) / 1e6).dropna(subset=["ms"])
    rows = []
    for arm, own in blocks.groupby("arm", dropna=False, sort=False):
        here = waits[waits["block"].isin(own["block"])]
        if here.empty:
            continue
        seen = by_block(counted(here), own["block"])
        total = by_block(summed(here["ms"], here), own["block"])
        long = by_block(counted(here[here["ms"] > WAITED_MS]), own["block"])
        rows.append(
            PoolWaitRow(
                arm=_named(arm),
                waits=len(here),
                wait_ms=ratio_of_sums(total, seen, unit="ms", n=len(here)),
                waited_share=share(long, seen, n=len(here), weight=heaviest(own)),
                longest_ms=float(here["ms"].max()),
            )
        )
    return tuple(rows)


def _scopes(blocks: pd.DataFrame) -> list[tuple[int | None, pd.DataFrame]]:
    """All blocks together, then those of each step."""
    return [(None, blocks), *((int(str(step)), part) for step, part in blocks.groupby("step"))]


def _of_collection(calls: pd.DataFrame, collection: str | None) -> pd.DataFrame:
    return calls if collection is None else calls[calls["db_collection"] == collection]


def _named(name: object) -> str | None:
    """The name of an arm or a collection; None where there is none."""
    return name if isinstance(name, str) else None
