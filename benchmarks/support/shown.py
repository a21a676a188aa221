"""What a report shows, each number and verdict held against what is true of a world.

A row is a name and a function that simulates one run and says of each number whether its interval
held the truth, of each verdict whether it was right; None where the report would refuse. To add a
row, add a function to ``NUMBERS`` or ``VERDICTS``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from analysis.questions.capacity.answer import extrapolation, knees, steps
from analysis.questions.ceiling.answer import speedup_at_most
from analysis.questions.database_load.answer import LoadRow, predicted_factor
from analysis.questions.equivalence.answer import DEFAULT_MARGIN, same
from analysis.questions.faster import kinds
from analysis.questions.faster.answer import paired_difference
from analysis.rundir.blocks import block_table
from analysis.rundir.manifest import Manifest, parse
from analysis.stats import intervals
from analysis.stats.family import Hypothesis, decisions
from analysis.stats.intervals import Estimate
from analysis.stats.quantiles import pool, quantile, quantile_difference
from analysis.stats.scalability import peak
from benchmarks.support import worlds
from benchmarks.support.worlds import MEAN_MS, MISS_RATE, OPERATION_MS, World
from tests.support.runs import paired_arms

Told = Iterator[tuple[str, bool | None]]
"""Name, and whether it was right; None where nothing was said."""

LEVELS = np.array([0.8, 1.0, 1.5])
"""By how much a request is slower at each of three load levels."""


def held(estimate: Estimate, truth: float) -> bool | None:
    """Whether the interval holds the truth; a bound holds what lies beyond it."""
    if estimate.low is None and estimate.high is None:
        return None
    low = -math.inf if estimate.low is None else estimate.low
    high = math.inf if estimate.high is None else estimate.high
    slack = 1e-9 * abs(truth)  # counts that do not scatter have an interval without a width
    return low - slack <= truth <= high + slack


def times(rng: np.random.Generator, world: World, pairs: int) -> Told:
    """Means and percentiles of a request, and their differences between two equal arms."""
    off, on = worlds.arms(rng, world, pairs)
    machine = float(off.machine.mean())
    means = off.response_ms.mean(axis=1)
    found = intervals.mean(means, unit="ms", n=off.response_ms.size)
    yield "mean time", held(found, MEAN_MS * world.slowdown * machine)
    both = paired_arms.matched(zip(off.response_ms, on.response_ms, strict=True))
    yield "difference of means, paired by draw", held(paired_difference(both), 0.0)
    others = worlds.arms(rng, world, pairs, paired=False)
    gap = others[1].response_ms.mean(axis=1) - others[0].response_ms.mean(axis=1)
    yield "difference of means, no draws", held(intervals.mean(gap, unit="ms", n=1), 0.0)
    one, two = (pool(list(arm.response_ms)) for arm in (off, on))
    for q in (0.5, 0.95, 0.99):
        truth = worlds.percentile_ms(world, q) * machine
        yield f"p{q * 100:g}", held(quantile(one, q, unit="ms"), truth)
    for q in (0.5, 0.95, 0.99):
        gap_of = quantile_difference(two, one, q, unit="ms")
        yield f"difference of p{q * 100:g}", held(gap_of, 0.0)


def mixtures(rng: np.random.Generator, world: World, pairs: int) -> Told:
    """Two populations: 94 % take a hundredth of the time, so that p95 is one of the slow ones."""
    if world.bursts or world.sigma > 1.0 or world.pareto:
        return
    off, _ = worlds.arms(rng, world, pairs)
    fast = rng.random(off.response_ms.shape) < 0.94
    blocks = list(off.response_ms * np.where(fast, 0.01, 1.0))
    machine = float(off.machine.mean())
    for q, truth in (
        (0.5, 0.01 * worlds.percentile_ms(world, 0.5 / 0.94)),
        (0.95, worlds.percentile_ms(world, 1.0 - 0.05 / 0.06)),
    ):
        found = quantile(blocks, q, unit="ms")
        yield f"p{q * 100:g} of two populations", held(found, truth * machine)


def operations(rng: np.random.Generator, world: World, pairs: int) -> Told:
    """Times of an operation, of its misses, and of one that 2 % of the requests have."""
    off, on = worlds.arms(rng, world, pairs)
    truth = OPERATION_MS * world.slowdown * float(off.machine.mean())
    for name, chosen in (
        ("operation", (None, None)),
        ("misses (5 %)", (None, world.met(rng, pairs, MISS_RATE))),
        ("rare operation (2 %)", tuple(world.met(rng, pairs, 0.02) for _ in range(2))),
    ):
        first, second = off.operation(chosen[0]), on.operation(chosen[1])
        if chosen[1] is None or chosen[0] is not None:
            mean = intervals.ratio_of_sums(*first, unit="ms", n=1)
            yield f"{name}: mean", held(mean, truth)
        ratio, saved = intervals.pooled_means(first, second, n=1)
        yield f"{name}: ratio", held(ratio, 1.0)
        yield f"{name}: difference", held(saved, 0.0)


def shares(rng: np.random.Generator, world: World, pairs: int) -> Told:
    """Share of an operation beside 90 ms of other work, and the ceiling of removing it."""
    off, _ = worlds.arms(rng, world, pairs)
    rest = World(name="rest").times(rng, off.operation_ms.shape) * (MEAN_MS - OPERATION_MS)
    work = (rest * off.machine[:, None]).sum(axis=1)
    for name, chosen, part in (
        ("share", None, 1.0),
        ("share of a rare operation (2 %)", world.met(rng, pairs, 0.02), 0.02),
    ):
        own, _ = off.operation(chosen)
        truth = part * OPERATION_MS * world.slowdown
        truth /= truth + MEAN_MS - OPERATION_MS
        found = intervals.ratio_of_sums(own, own + work, unit="share", n=1)
        yield name, held(found, truth)
        if chosen is None:
            yield "ceiling (speed-up)", held(speedup_at_most(found), 1.0 / (1.0 - truth))


def counts(rng: np.random.Generator, world: World, pairs: int) -> Told:
    """Queries, hits and failures; the cached query is made once per request, or at a miss."""
    sent = np.full(pairs, float(worlds.REQUESTS))
    missed, again, failed, hardly = (
        world.met(rng, pairs, rate).sum(axis=1) * 1.0
        for rate in (MISS_RATE, MISS_RATE, 0.01, 0.001)
    )
    every = intervals.rate(sent, sent, unit="per_request")
    some = intervals.rate(missed, sent, unit="per_request")
    yield "queries per request", held(some, MISS_RATE)
    yield "queries saved per request", held(intervals.difference(every, some), 1.0 - MISS_RATE)
    factor = intervals.rate_ratio((sent, sent), (missed, sent), n=1)
    yield "reduction factor", held(factor, 1.0 / MISS_RATE)
    equal = intervals.rate_ratio((again, sent), (missed, sent), n=1)
    yield "reduction factor of equal arms", held(equal, 1.0)
    misses = intervals.share(missed, sent)
    yield "hit rate", held(misses.complement(), 1.0 - MISS_RATE)
    yield "predicted factor", held(predicted_factor(misses), 1.0 / MISS_RATE)
    rare = intervals.share(hardly, sent)
    yield "hit rate of 99.9 %", held(rare.complement(), 0.999)
    yield "share that failed (1 %)", held(intervals.share(failed, sent), 0.01)


def use(rng: np.random.Generator, world: World, pairs: int) -> Told:
    """Busy connections and cost per request: sums of times by block over requests by block."""
    off, on = worlds.arms(rng, world, pairs)
    used, requests = off.operation()
    missed, _ = on.operation(world.met(rng, pairs, MISS_RATE))
    truth = OPERATION_MS * world.slowdown * float(off.machine.mean())
    later = MISS_RATE * OPERATION_MS * world.slowdown * float(on.machine.mean())
    before = intervals.ratio_of_sums(used, requests, unit="s", n=1)
    after = intervals.ratio_of_sums(missed, requests, unit="s", n=1)
    yield "busy connections", held(before, truth)
    yield "busy connections with a cache", held(after, later)
    saved = intervals.difference(before, after)
    yield "busy connections saved", held(saved, truth - later)
    yield "cost per request", held(before, truth)
    sides = [intervals.log_ratio_of_sums(*arm.operation()) for arm in (on, off)]
    yield "cost per request, relative change", held(intervals.difference(*sides), 0.0)


def levels(rng: np.random.Generator, world: World, pairs: int) -> Told:
    """The same over three load levels, which are strata."""
    off, on = worlds.arms(rng, world, pairs)
    level = np.arange(pairs) % len(LEVELS)
    by = LEVELS[level]
    truth = world.slowdown * float((off.machine * by).mean())
    means = [arm.response_ms.mean(axis=1) * by for arm in (off, on)]
    strata = level.tolist()
    found = intervals.mean(means[0], unit="ms", n=1, strata=strata)
    yield "three levels: mean time", held(found, MEAN_MS * truth)
    gap = intervals.mean(means[1] - means[0], unit="ms", n=1, strata=strata)
    yield "three levels: difference, paired", held(gap, 0.0)
    sides = [(arm.operation()[0] * by, arm.sent) for arm in (off, on)]
    own = intervals.ratio_of_sums(*sides[0], unit="ms", n=1, strata=strata)
    yield "three levels: operation, mean", held(own, OPERATION_MS * truth)
    ratio, _ = intervals.pooled_means(sides[0], sides[1], n=1, strata=strata)
    yield "three levels: operation, ratio", held(ratio, 1.0)


def mixes(rng: np.random.Generator, world: World, pairs: int) -> Told:
    """Mean by the pooled mix of two kinds, of which the arms were sent unlike parts."""
    off, on = worlds.arms(rng, world, pairs, paired=False)
    found = kinds.standardised(
        _traffic(rng, off, 0.2), _traffic(rng, on, 0.6), ("read", "write"), steps=[0] * pairs
    )
    yield "standardised difference of means", held(found.difference, 0.0)


def _traffic(rng: np.random.Generator, arm: worlds.Arm, writes: float) -> kinds.Traffic:
    """Reads, and writes that take ten times as long, by block."""
    wrote = rng.random(arm.response_ms.shape) < writes
    chosen = {"read": ~wrote, "write": wrote}
    blocks = {
        kind: tuple(
            paired_arms.block(ms[own] * (10.0 if kind == "write" else 1.0))
            for ms, own in zip(arm.response_ms, mask, strict=True)
        )
        for kind, mask in chosen.items()
    }
    counted = pd.DataFrame({kind: mask.sum(axis=1) for kind, mask in chosen.items()})
    return kinds.Traffic(blocks=tuple(range(len(wrote))), counts=counted, times=blocks)


def sameness(rng: np.random.Generator, world: World, pairs: int) -> Told:
    """Two arms that differ by just the margin are not the same."""
    off, on = worlds.arms(rng, world, pairs)
    means = [arm.response_ms.mean(axis=1) for arm in (off, on)]
    found = same(means[0], means[1] * (1.0 + DEFAULT_MARGIN), margin=DEFAULT_MARGIN)
    said = found.p_value
    yield "the same, at the margin", None if said is None else said >= 0.05


def family(rng: np.random.Generator, world: World, pairs: int) -> Told:
    """All differences of one run of equal arms, decided together (Holm)."""
    off, on = worlds.arms(rng, world, pairs)
    both = paired_arms.matched(zip(off.response_ms, on.response_ms, strict=True))
    one, two = (pool(list(arm.response_ms)) for arm in (off, on))
    missed = [world.met(rng, pairs, MISS_RATE).sum(axis=1) * 1.0 for _ in range(2)]
    rare = [arm.operation(world.met(rng, pairs, 0.02)) for arm in (off, on)]
    ratios = [
        intervals.pooled_means(off.operation(), on.operation(), n=1)[0],
        intervals.pooled_means(rare[0], rare[1], n=1)[0],
        intervals.rate_ratio((missed[0], off.sent), (missed[1], on.sent), n=1),
    ]
    gaps = [quantile_difference(two, one, q, unit="ms") for q in (0.5, 0.95, 0.99)]
    said = decisions(
        [
            Hypothesis(estimate=paired_difference(both), primary=True),
            *(Hypothesis(estimate=gap) for gap in gaps),
            *(Hypothesis(estimate=ratio, null=1.0) for ratio in ratios),
        ]
    )
    yield "any difference of seven (Holm)", all(word == "not decided" for word in said)


def unlike(rng: np.random.Generator, world: World, pairs: int) -> Told:
    """Arms that were sent one mix."""
    off, on = worlds.arms(rng, world, pairs)
    said = kinds.unlike(_traffic(rng, off, 0.2), _traffic(rng, on, 0.2))
    yield "unlike traffic", said is None


RATES = (10.0, 20.0, 40.0)


def capacities(rng: np.random.Generator, world: World, pairs: int) -> Told:
    """A service that answers as fast at every load level, and fails 5 % at each."""
    manifest, requests = _steady(rng, world, pairs)
    blocks = block_table(manifest, requests, requests.iloc[:0])
    yield "fell behind", bool((blocks["stretch"] == 1.0).all())
    found = knees(steps(manifest, requests, blocks))
    yield "knee", all(row.knee_per_s is None for row in found)
    whole, _ = worlds.arms(rng, world, pairs * len(RATES))
    rows = [_load(whole, rate, slice(step, None, len(RATES))) for step, rate in enumerate(RATES)]
    tried = extrapolation(rows)
    yield "held time moves with the rate", all(row.extrapolates for row in tried)
    in_flight = np.geomspace(1.0, 32.0, 6)
    scatter = [worlds.arms(rng, world, pairs)[0].response_ms.mean() / MEAN_MS for _ in in_flight]
    throughput = in_flight / (1.0 + 0.05 * (in_flight - 1.0)) / np.array(scatter)
    yield "peak of a law without one", peak(in_flight, throughput).value is None


def _steady(rng: np.random.Generator, world: World, pairs: int) -> tuple[Manifest, pd.DataFrame]:
    """One arm at three rates, its blocks in turn."""
    arm, _ = worlds.arms(rng, world, pairs * len(RATES))
    blocks: list[dict[str, object]] = []
    parts: list[pd.DataFrame] = []
    clock, count = 1_000_000_000, worlds.REQUESTS
    for _ in range(pairs):
        for step, rate in enumerate(RATES):
            sent = clock + np.sort(rng.integers(0, round(count / rate * 1e9), count))
            end = clock + round(count / rate * 1e9)
            number = len(blocks)
            blocks.append(
                {"block": number, "pair": number, "arm": "only", "step": step,
                 "rate_per_s": rate, "warmup": False, "start_ns": clock, "end_ns": end}
            )  # fmt: skip
            failed = rng.random(count) < 0.05
            parts.append(
                pd.DataFrame(
                    {"block": number, "intended_ns": sent, "sent_ns": sent,
                     "draw": np.arange(count),
                     "end_ns": sent + (arm.response_ms[number] * 1e6).astype(np.int64),
                     "status_code": np.where(failed, 500, 200), "error": None}
                )
            )  # fmt: skip
            clock = end
    manifest = parse(
        {"format_version": 1, "run_id": "steady", "name": "steady", "started_ns": 0,
         "ended_ns": clock, "arms": [{"name": "only"}], "blocks": blocks}
    )  # fmt: skip
    return manifest, pd.concat(parts, ignore_index=True)


def _load(arm: worlds.Arm, rate: float, level: slice) -> LoadRow:
    """A load level at which a request holds a connection for as long as its operation takes."""
    held_s, sent = (each[level] for each in arm.operation())
    one = intervals.rate(sent, sent, unit="per_request")
    connections = intervals.mean(held_s / sent * rate, unit="connections", n=1)
    return LoadRow(
        arm="only", step=0, offered_per_s=rate, achieved_per_s=rate, collection=None,
        per_request=one, per_s=one.scaled(rate, "per_s"), busy_connections=connections,
        held_s_per_request=intervals.ratio_of_sums(held_s, sent, unit="s", n=int(sent.sum())),
    )  # fmt: skip


Simulated = Callable[[np.random.Generator, World, int], Told]

NUMBERS: tuple[Simulated, ...] = (times, mixtures, operations, shares, counts, use, levels, mixes)
"""Intervals, which hold the truth in 95 of 100 runs."""

VERDICTS: tuple[Simulated, ...] = (sameness, family, unlike, capacities)
"""Words that should be said of no more than 5 in 100 of these runs."""
