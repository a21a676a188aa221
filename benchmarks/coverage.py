"""How often do intervals hold the truth, and verdicts say what is not so?

Prints one Markdown table: every number and verdict that a report shows, in six worlds of known
truth (``benchmarks.support.worlds``), with 6, 8 and 18 blocks per arm. Below it, queues whose
percentiles are known in closed form. Ends with 1 where what is shown is surely off its target:
intervals that hold the truth in less than 90 %, words that are false in more than 5 %.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd

from analysis.questions.faster.answer import paired_difference
from analysis.stats.backlog import overloaded
from analysis.stats.intervals import decide, rate_ratio
from analysis.stats.quantiles import quantile
from analysis.stats.sequential import decided_after
from benchmarks.support.shown import NUMBERS, VERDICTS, Simulated, Told, held
from benchmarks.support.worlds import WORLDS, World
from tests.support.runs import paired_arms
from tests.support.runs.queue_simulation import (
    blocks_of_a_queue,
    mm1_quantile,
    mm1_response_times,
)

BLOCKS = (6, 8, 18)

LEAST_HELD = 0.90
"""Of the intervals that are shown."""

MOST_FALSE = 0.05
"""Of the words that are said."""

FEWEST_SHOWN = 20
"""A cell of fewer shown numbers says nothing of how often they are right."""


@dataclass(slots=True)
class Cell:
    """How one number of one world came out with so many blocks."""

    right: int = 0
    shown: int = 0
    refused: int = 0

    def add(self, right: bool | None) -> None:  # noqa: FBT001 - what was told, as it is
        """Count one simulated run."""
        self.refused += right is None
        self.shown += right is not None
        self.right += right is True

    def told(self, *, is_verdict: bool) -> str:
        """Percent that held the truth (of a verdict: that was false), and percent refused."""
        if self.shown < FEWEST_SHOWN:
            return "–"
        share = self.right / self.shown
        percent = f"{100 * (1 - share if is_verdict else share):.0f}"
        refused = 100 * self.refused / (self.shown + self.refused)
        return f"{percent} ({refused:.0f} –)" if refused >= 0.5 else percent

    def is_off(self, *, is_verdict: bool) -> bool:
        """Whether it surely misses its target: by more than three errors of the simulation."""
        if self.shown < FEWEST_SHOWN:
            return False
        target = 1.0 - MOST_FALSE if is_verdict else LEAST_HELD
        error = math.sqrt(target * (1.0 - target) / self.shown)
        return self.right / self.shown < target - 3.0 * error


@dataclass(frozen=True, slots=True)
class Row:
    """One number or verdict in all worlds."""

    name: str
    is_verdict: bool
    cells: dict[tuple[str, int], Cell] = field(default_factory=dict)

    def line(self) -> str:
        """As a row of a Markdown table."""
        parts = []
        for world in WORLDS:
            told = [
                self.cells[world.name, blocks].told(is_verdict=self.is_verdict)
                for blocks in BLOCKS
                if (world.name, blocks) in self.cells
            ]
            parts.append("–" if set(told) <= {"–"} else ", ".join(told))
        name = f"*{self.name}*" if self.is_verdict else self.name
        return f"| {name} | {' | '.join(parts)} |"

    def off(self) -> Iterable[str]:
        """What surely misses its target."""
        for (world, blocks), cell in self.cells.items():
            if cell.is_off(is_verdict=self.is_verdict):
                yield f"{self.name}, {world}, {blocks} blocks: {cell.right} of {cell.shown} right"


def table(rng: np.random.Generator, repeats: int) -> list[Row]:
    """Every row, from ``repeats`` simulated runs of each world and number of blocks."""
    rows: dict[str, Row] = {}
    for simulated, is_verdict in (
        *((one, False) for one in NUMBERS),
        *((one, True) for one in VERDICTS),
    ):
        for world in WORLDS:
            for blocks in BLOCKS:
                for name, right in _told(rng, simulated, world, blocks, repeats):
                    row = rows.setdefault(name, Row(name, is_verdict))
                    row.cells.setdefault((world.name, blocks), Cell()).add(right)
    return list(rows.values())


def _told(
    rng: np.random.Generator, simulated: Simulated, world: World, blocks: int, repeats: int
) -> Told:
    for _ in range(repeats):
        yield from simulated(rng, world, blocks)


def queues(rng: np.random.Generator, repeats: int) -> Iterable[str]:
    """Percentiles of M/M/1 queues, whose values stay high for long."""
    yield "| M/M/1 | blocks | held the truth | refused |"
    yield "|---|---|---|---|"
    for q, utilisation, blocks, size in (
        (0.95, 0.5, 10, 10_000),
        (0.95, 0.8, 18, 340),
        (0.95, 0.8, 10, 10_000),
        (0.99, 0.8, 10, 10_000),
        (0.99, 0.9, 10, 2_000),
    ):
        cell = Cell()
        for _ in range(repeats):
            made = [mm1_response_times(rng, size, utilisation) for _ in range(blocks)]
            cell.add(held(quantile(made, q, unit="ms"), mm1_quantile(q, utilisation)))
        share = f"{cell.right / cell.shown:.0%}" if cell.shown else "–"
        yield (
            f"| p{q * 100:g} at utilisation {utilisation:g} | {blocks} of {size:,} | {share} |"
            f" {cell.refused / repeats:.0%} |"
        )


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
    found = rate_ratio(*weighed, n=1, weight=1 / min(rates))
    return bool(held(found, float(whole[0] / whole[1])))


def samples(rng: np.random.Generator, repeats: int) -> Iterable[str]:
    """Traces kept at two rates: does the interval hold the whole's reduction factor?"""
    yield "| traces kept at | reduction factor held the truth |"
    yield "|---|---|"
    for rates in ((1.0, 1 / 16), (0.25, 1 / 16), (1 / 16, 1 / 16)):
        share = _share(partial(sampled, rng, rates), repeats * 5)
        yield f"| {rates[0]:.3g} and {rates[1]:.3g} | {share:.0%} |"


def sequential(rng: np.random.Generator, repeats: int) -> Iterable[str]:
    """18 rounds, looked at after each: decided where nothing differs, and how soon else."""
    shapes: dict[str, Callable[[tuple[int, ...]], np.ndarray]] = {
        "normal": rng.standard_normal,
        "Student's t(3)": lambda size: rng.standard_t(3, size),
        "log-normal 1.5": lambda size: -np.diff(rng.lognormal(0.0, 1.5, (2, *size)), axis=0)[0],
        "Pareto 1.5": lambda size: -np.diff(rng.pareto(1.5, (2, *size)), axis=0)[0],
    }
    yield "| equal arms, looked at 13 times | decided |"
    yield "|---|---|"
    for name, draw in shapes.items():
        found = [decided_after([draw((18,))])[0] for _ in range(5 * repeats)]
        yield f"| {name} | {np.mean([after is not None for after in found]):.1%} |"
    after = [decided_after([rng.normal(3.0, 1.0, 18)])[0] or 18 for _ in range(repeats)]
    saved = 1.0 - float(np.mean(after)) / 18
    yield f"| 3 standard deviations of a round apart: rounds saved | {saved:.0%} |"


def overload(rng: np.random.Generator, repeats: int) -> Iterable[str]:
    """Two arms at 10, 30 and 60/s, blocks of 5 s: is any of the six called overloaded?"""
    yield "| 60/s, blocks of 5 s | 6, 8, 18 blocks: called overloaded |"
    yield "|---|---|"
    for utilisation, bursts in ((1.2, False), (0.8, True)):
        shares = [
            _share(lambda u=utilisation, n=blocks, b=bursts: grows(rng, u, n, b), repeats)
            for blocks in BLOCKS
        ]
        yield f"| at {utilisation:g} of capacity | {', '.join(f'{s:.0%}' for s in shares)} |"


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


def planted(rng: np.random.Generator, requests: int) -> bool:
    """A change of 0.2 % in ten pairs with the same LLM time: is it decided, and rightly?"""
    pairs = []
    for _ in range(10):
        llm = rng.lognormal(8.0, 0.3, requests // 10)
        one, two = (llm + rng.normal(500.0, 15.0, requests // 10) for _ in range(2))
        pairs.append((one, two - 0.002 * 3600.0))
    return decide(paired_difference(paired_arms.matched(pairs))) == "lower"


def _share(once: Callable[[], bool], repeats: int) -> float:
    return float(np.mean([once() for _ in range(repeats)]))


def main(argv: Sequence[str]) -> int:
    """Print the table and give 1 when a target was missed."""
    parser = argparse.ArgumentParser(prog="coverage", description=__doc__)
    parser.add_argument("--repeats", type=int, default=200, help="of each world and block count")
    parser.add_argument("--quick", action="store_true", help="40 repeats, no queues")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    rng = np.random.default_rng(options.seed)
    repeats = 40 if options.quick else options.repeats
    rows = table(rng, repeats)
    print(f"Percent of {repeats} simulated runs with {', '.join(map(str, BLOCKS))} blocks per arm")
    print("in which the interval held the truth, or (in italics) the word was false.")
    print("In brackets what was refused; – is too few or nothing shown.\n")
    print(f"| shown | {' | '.join(world.name for world in WORLDS)} |")
    print("|---|" + "---|" * len(WORLDS))
    for row in rows:
        print(row.line())
    if not options.quick:
        print("\n" + "\n".join(queues(rng, repeats)))
        print("\n" + "\n".join(overload(rng, repeats)))
        print("\n" + "\n".join(sequential(rng, repeats)))
        print("\n" + "\n".join(samples(rng, repeats)))
        decided = ", ".join(
            f"{_share(lambda n=n: planted(rng, n), repeats):.0%}" for n in (200, 500)
        )
        print(
            f"\n0.2 % planted, paired by draw, 200 and 500 requests an arm: decided in {decided}"
        )
    off = [text for row in rows for text in row.off()]
    print(
        "\n"
        + "\n".join(["Surely off target:", *off] if off else ["Nothing is surely off target."])
    )
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
