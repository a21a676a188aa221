"""Do the intervals cover what they claim to, and do equal arms come out as equal? Full size.

Truth is known: M/M/1 response times (closed form), counts that burst (a given miss rate), samples
of traces (the whole), and pairs of arms that do not differ. Prints the share of repeats in which
the interval held the truth, or cried wolf, with the binomial error of that share; ends with 1 when
a target is missed by more than it.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from analysis.questions.faster.answer import paired_difference
from analysis.stats import intervals
from analysis.stats.backlog import overloaded
from analysis.stats.intervals import Estimate, decide
from analysis.stats.quantiles import quantile, quantile_difference
from analysis.stats.sequential import decided_after
from tests.support.runs import paired_arms
from tests.support.runs.queue_simulation import (
    blocks_of_a_queue,
    bursting_misses,
    mm1_quantile,
    mm1_response_times,
)

COMPARISONS = ("paired mean", "p50", "p90", "ratio of means", "reduction factor")
"""What ``equal_arms`` compares, in its order."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one kind of repeat came out."""

    name: str
    share: float
    repeats: int
    target: str
    met: bool

    def line(self) -> str:
        """One row of the printed table."""
        error = math.sqrt(max(self.share * (1 - self.share), 0.25 / self.repeats) / self.repeats)
        word = "ok" if self.met else "MISSED"
        return f"{self.name:<58} {self.share:6.1%} ±{1.96 * error:5.1%}  {self.target:<9} {word}"


def held(estimate: Estimate, truth: float) -> bool:
    """Whether the interval is there and holds the truth."""
    if estimate.low is None or estimate.high is None:
        return False
    return estimate.low <= truth <= estimate.high


def queue(
    rng: np.random.Generator, utilisation: float, q: float, size: int = 10_000
) -> tuple[bool, bool]:
    """Ten blocks: does the interval hold the true quantile, and was there one?"""
    blocks = [mm1_response_times(rng, size, utilisation) for _ in range(10)]
    found = quantile(blocks, q, unit="service times")
    return held(found, mm1_quantile(q, utilisation)), found.has_interval


def factor(rng: np.random.Generator, blocks: int) -> bool:
    """Bursting misses at 5 %: does the interval hold the true factor of 20?"""
    missed, sent = bursting_misses(rng, blocks, 150, 0.05)
    every = rng.poisson(150, blocks).astype(np.float64)
    return held(intervals.rate_ratio((every, every), (missed, sent), n=1), 20.0)


def sampled(rng: np.random.Generator, rates: tuple[float, float], blocks: int = 8) -> bool:
    """Requests kept at the first rate from three queries on: is the whole's factor held?

    Off, 80 requests a block make 1 to 5 queries each; on, half of these are saved.
    """
    weighed, whole = [], []
    for saved in (0.0, 0.5):
        asked = rng.binomial(rng.integers(1, 6, (blocks, 80)), 1 - saved)
        rate = np.where(asked >= 3, *rates)
        weight = np.where(rng.random(asked.shape) < rate, 1 / rate, 0.0)
        weighed.append(((asked * weight).sum(axis=1), weight.sum(axis=1)))
        whole.append(asked.mean())
    found = intervals.rate_ratio(*weighed, n=1, weight=1 / min(rates))
    return held(found, float(whole[0] / whole[1]))


def equal_arms(rng: np.random.Generator, *, interleaved: bool) -> list[bool]:
    """Six pairs on a drifting machine: which of five comparisons cry wolf?"""
    drift, arms = 1.0, [[], []]
    shared = [rng.lognormal(8.0, 0.25, 120) for _ in range(6)]
    order = [0, 1, 1, 0] * 3 if interleaved else [0] * 6 + [1] * 6
    for arm in order:
        drift *= math.exp(rng.normal(0.0, 0.01))
        draws = shared[len(arms[arm])]
        arms[arm].append(draws * drift * np.exp(rng.normal(0.0, 0.02, 120)))
    first, second = arms
    misses = [bursting_misses(rng, 6, 120, 0.05) for _ in range(2)]
    ones = np.full(6, 120.0)
    means = [np.array([block.mean() for block in arm]) for arm in arms]
    pairs = paired_arms.matched(zip(first, second, strict=True))
    said = [
        decide(paired_difference(pairs)),
        decide(quantile_difference(second, first, 0.5, unit="ms")),
        decide(quantile_difference(second, first, 0.9, unit="ms")),
        decide(intervals.pooled_means((means[0], ones), (means[1], ones), n=1)[0], 1.0),
        decide(intervals.rate_ratio(misses[0], misses[1], n=1), 1.0),
    ]
    return [word != "not decided" for word in said]


def planted(rng: np.random.Generator, requests: int) -> bool:
    """A change of 0.2 % in pairs with the same LLM time: is it decided, and rightly?"""
    pairs = []
    for _ in range(10):
        llm = rng.lognormal(8.0, 0.3, requests // 10)
        one, two = (llm + rng.normal(500.0, 15.0, requests // 10) for _ in range(2))
        pairs.append((one, two - 0.002 * 3600.0))
    return decide(paired_difference(paired_arms.matched(pairs))) == "lower"


def outcomes(rng: np.random.Generator, repeats: int) -> list[Outcome]:
    """Every simulation of this page."""
    found = [_covered(rng, repeats, rho, q) for rho, q in ((0.5, 0.95), (0.8, 0.95), (0.8, 0.99))]
    found.append(_refused(rng, repeats))
    for blocks in (6, 10, 18):
        share = _share(lambda n=blocks: factor(rng, n), repeats * 5)
        name = f"reduction factor, bursting misses, {blocks} blocks: covered"
        found.append(Outcome(name, share, repeats * 5, ">= 92 %", share >= 0.92))
    found += _wolves(rng, repeats)
    for requests in (60, 200, 500):
        share = _share(lambda n=requests: planted(rng, n), repeats)
        name = f"0.2 % planted, paired, {requests} requests an arm: decided"
        target, met = (">= 80 %", share >= 0.8) if requests == 500 else ("", True)
        found.append(Outcome(name, share, repeats, target, met))
    found += [*_sequential(rng, repeats), *_overload(rng, repeats)]
    return [*found, *_samples(rng, repeats)]


def _sequential(rng: np.random.Generator, repeats: int) -> Iterator[Outcome]:
    """18 rounds, looked at after each: decided where nothing differs, and how soon else."""
    shapes: dict[str, Callable[[tuple[int, ...]], np.ndarray]] = {
        "normal": rng.standard_normal,
        "Student's t(3)": lambda size: rng.standard_t(3, size),
        "log-normal 1.5": lambda size: -np.diff(rng.lognormal(0.0, 1.5, (2, *size)), axis=0)[0],
        "Pareto 1.5": lambda size: -np.diff(rng.pareto(1.5, (2, *size)), axis=0)[0],
    }
    for name, draw in shapes.items():
        found = [decided_after([draw((18,))])[0] for _ in range(5 * repeats)]
        share = float(np.mean([after is not None for after in found]))
        title = f"A/A looked at 13 times, {name}: decided"
        yield Outcome(title, share, len(found), "<= 5 %", share <= 0.05)
    after = [decided_after([rng.normal(3.0, 1.0, 18)])[0] or 18 for _ in range(repeats)]
    saved = 1.0 - float(np.mean(after)) / 18
    title = "3 standard deviations of a round: rounds saved"
    yield Outcome(title, saved, repeats, ">= 50 %", saved >= 0.5)


def _samples(rng: np.random.Generator, repeats: int) -> Iterator[Outcome]:
    """Traces kept at two rates: does the interval hold the whole's reduction factor?"""
    for rates in ((1.0, 1 / 16), (0.25, 1 / 16), (1 / 16, 1 / 16)):
        share = _share(partial(sampled, rng, rates), repeats * 5)
        name = f"reduction factor, traces kept at {rates[0]:.3g} and {rates[1]:.3g}: covered"
        yield Outcome(name, share, repeats * 5, ">= 90 %", share >= 0.9)


def _overload(rng: np.random.Generator, repeats: int) -> Iterator[Outcome]:
    """Two arms at 10, 30 and 60/s, blocks of 5 s: is any of the six called overloaded?"""
    for utilisation, blocks, bursts in (
        *((1.2, blocks, False) for blocks in (6, 8, 18)),
        *((0.8, blocks, True) for blocks in (6, 8, 18)),
    ):
        share = _share(lambda u=utilisation, n=blocks, b=bursts: grows(rng, u, n, b), repeats)
        over = utilisation > 1.0
        name = f"60/s at {utilisation:g} of capacity, {blocks} blocks: overloaded"
        met = share >= 0.8 if over else share <= 0.05
        yield Outcome(name, share, repeats, ">= 80 %" if over else "<= 5 %", met)


def grows(rng: np.random.Generator, utilisation: float, blocks: int, bursts: bool) -> bool:  # noqa: FBT001 - simulated as told
    """One run of the demo's shape, its baseline at this utilisation of 60/s."""
    table: list[tuple[int, str, int]] = []
    requests = []
    for step, rate in enumerate((10.0, 30.0, 60.0)):
        for arm in ("off", "on"):
            own = utilisation if (arm, rate) == ("off", 60.0) else 0.5
            for sent, took in blocks_of_a_queue(rng, blocks, rate, own, bursts=bursts):
                table.append((len(table), arm, step))
                ns = (sent * 1e9).astype(np.int64)
                times = {"intended_ns": ns, "end_ns": ns + (took * 1e9).astype(np.int64)}
                requests.append(pd.DataFrame({"block": len(table) - 1, **times}))
    columns = pd.DataFrame(table, columns=["block", "arm", "step"])
    return bool(overloaded(columns, pd.concat(requests, ignore_index=True)).any())


def _wolves(rng: np.random.Generator, repeats: int) -> list[Outcome]:
    """A/A: each comparison, all of them together, and what would come without interleaving."""
    said = np.array([equal_arms(rng, interleaved=True) for _ in range(repeats * 5)])
    found = [
        Outcome(f"  A/A, {name}: different", float(cried), len(said), "", met=True)
        for name, cried in zip(COMPARISONS, said.mean(axis=0), strict=True)
    ]
    whole = float(said.mean())
    name = "A/A, interleaved pairs, 1 % drift a block, all: different"
    found.append(Outcome(name, whole, said.size, "<= 5 %", met=whole <= 0.05))
    apart = float(np.mean([equal_arms(rng, interleaved=False)[0] for _ in range(repeats)]))
    name = "  A/A, all of one arm first, paired mean: different"
    found.append(Outcome(name, apart, repeats, "(a trap)", met=True))
    return found


def _covered(rng: np.random.Generator, repeats: int, utilisation: float, q: float) -> Outcome:
    share = _share(lambda: queue(rng, utilisation, q)[0], repeats)
    name = f"M/M/1 at {utilisation:g}, p{q * 100:g}, 10 blocks: covered"
    strict = q <= 0.95
    return Outcome(name, share, repeats, ">= 90 %" if strict else "", share >= 0.9 or not strict)


def _refused(rng: np.random.Generator, repeats: int) -> Outcome:
    share = _share(lambda: not queue(rng, 0.9, 0.99, 2_000)[1], repeats)
    name = "M/M/1 at 0.9, p99, 10 blocks of 2,000: refused"
    return Outcome(name, share, repeats, ">= 90 %", share >= 0.9)


def _share(once: Callable[[], bool], repeats: int) -> float:
    return float(np.mean([once() for _ in range(repeats)]))


def main(argv: list[str]) -> int:
    """Print the table and give 1 when a target was missed."""
    parser = argparse.ArgumentParser(prog="coverage", description=__doc__)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    rng = np.random.default_rng(options.seed)
    found = outcomes(rng, options.repeats)
    for outcome in found:
        print(outcome.line())
    return 0 if all(outcome.met for outcome in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
