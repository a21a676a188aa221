"""Experiment in, plan out: which block of which arm runs when.

Blocks of one pair belong to one step, draw the same arrivals and stand side by side; pairs
alternate their order (A B, B A: ABBA), so that a drift of the machine meets every arm alike. With
more arms than can be up at once, the arms run in batches, each with the baseline in it, so that
every comparison stays side by side.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from worthit.contract.manifest import Step
from worthit.contract.plan import Block
from worthit.contract.scenario_arguments import ARGUMENTS, Value
from worthit.experiments.model import MAX_ARMS_AT_ONCE, Experiment

SET_UP_S: Final = 15.0
"""Starting the parts and filling the database: for the estimate of time alone."""

WIND_DOWN_S: Final = 16.0
"""Last replies, last samples and writing the tables; for the estimate of time alone."""

SETTLE_S: Final = 10.0
"""Between two batches: the next one's services start."""

CLOCK_TICK_S: Final = 1e-6
"""Clocks count in ns and plans in seconds: what rounding may make of the same moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedArm:
    """An arm with everything it takes resolved."""

    name: str
    env: dict[str, str]
    knobs: dict[str, Value]
    instances: int
    baseline: bool
    uses_redis: bool
    fault: str | None
    """What happens to its Redis once its warm-up is over."""

    database: str
    """The name of the arm's own database."""

    def knob(self, name: str) -> Value:
        """Give a knob's value: the arm's, or the scenario's own default."""
        return self.knobs.get(name, ARGUMENTS[name].default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be run."""

    experiment: Experiment
    arms: tuple[PlannedArm, ...]
    batches: tuple[tuple[str, ...], ...]
    """Arms that are up together, baseline first."""
    blocks: tuple[Block, ...]
    batch_of_block: tuple[int, ...]
    file: str | None = None
    """What to give ``worthit run`` for this plan: a path, or a name of the catalogue."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """Give the load levels as the manifest lists them."""
        rates = self.experiment.load.rates_per_s
        return tuple(Step(step=step, rate_per_s=rate) for step, rate in enumerate(rates))

    @property
    def load_s(self) -> float:
        """Give the seconds from the first planned arrival to the last."""
        return max(block.end_s for block in self.blocks)

    @property
    def estimated_s(self) -> float:
        """Give about how long the whole run takes."""
        return SET_UP_S + self.load_s + WIND_DOWN_S

    def arrivals(self, arm: str) -> float:
        """Give the expected number of arrivals of an arm, warm-up included."""
        return sum(b.expected_arrivals for b in self.blocks if b.arm == arm)

    def blocks_ended_by(self, elapsed_s: float) -> int:
        """Count the blocks that end within so many seconds of the schedule's zero."""
        return sum(b.start_s + b.duration_s <= elapsed_s + CLOCK_TICK_S for b in self.blocks)

    @property
    def personalities(self) -> int:
        """Give how many personalities are needed so that no cold one is asked for twice."""
        if self.experiment.data.personalities is not None:
            return self.experiment.data.personalities
        # The load numbers arrivals over the whole plan: later batches go on counting.
        pairs = {block.pair: block.expected_arrivals for block in self.blocks}
        return max(_personalities(arm, sum(pairs.values())) for arm in self.arms)


def make_plan(experiment: Experiment, file: str | None = None) -> Plan:
    """Lay out every block of `experiment` in time; `file` is what ``worthit run`` is given."""
    arms = _planned_arms(experiment)
    batches = _batches(arms)
    blocks: list[Block] = []
    batch_of_block: list[int] = []
    pair = 0
    start_s = 0.0
    for number, batch in enumerate(batches):
        if number:
            start_s += SETTLE_S
        for block in _batch_blocks(experiment, batch, len(blocks), pair, start_s):
            blocks.append(block)
            batch_of_block.append(number)
        pair = blocks[-1].pair + 1
        start_s = blocks[-1].end_s
    return Plan(
        experiment=experiment,
        file=file,
        arms=arms,
        batches=batches,
        blocks=tuple(blocks),
        batch_of_block=tuple(batch_of_block),
    )


def _planned_arms(experiment: Experiment) -> tuple[PlannedArm, ...]:
    """Replace swept arms by one arm per value; resolve what an arm leaves to the experiment."""
    arms = experiment.swept_arms()
    names_baseline = any(arm.baseline for arm in arms)
    return tuple(
        PlannedArm(
            name=arm.name,
            env=dict(arm.env),
            knobs={**experiment.load.knobs, **arm.knobs},
            instances=arm.instances or experiment.instances,
            baseline=arm.baseline if names_baseline else index == 0,
            uses_redis=arm.uses_redis,
            fault=arm.fault,
            database=_database(arm.name, [other.name for other in arms[:index]]),
        )
        for index, arm in enumerate(arms)
    )


def _database(arm: str, before: Sequence[str]) -> str:
    """Spell an arm as a database, apart from those before it: ``a.b`` and ``a-b`` are two."""
    spelled = [re.sub(r"[^a-z0-9]", "_", name)[:40] for name in (*before, arm)]
    twin = spelled[-1] in spelled[:-1]
    return f"worthit_{spelled[-1]}_{len(before)}" if twin else f"worthit_{spelled[-1]}"


def _batches(arms: Sequence[PlannedArm]) -> tuple[tuple[str, ...], ...]:
    """Cut the arms into groups that can be up together, each with the baseline first."""
    baseline = next(arm.name for arm in arms if arm.baseline)
    others = [arm.name for arm in arms if arm.name != baseline]
    size = MAX_ARMS_AT_ONCE - 1
    groups = [others[start : start + size] for start in range(0, len(others), size)] or [[]]
    return tuple((baseline, *group) for group in groups)


def _batch_blocks(
    experiment: Experiment,
    batch: tuple[str, ...],
    first_block: int,
    first_pair: int,
    start_s: float,
) -> Iterator[Block]:
    """Yield a batch's blocks: a warm-up of every arm, then the steps, each with its pairs."""
    load = experiment.load
    rounds: list[tuple[int, float, float, float, bool]] = []
    if load.warmup_s > 0:
        rate = load.warmup_rate_per_s or load.rates_per_s[0]
        rounds.append((0, rate, load.warmup_s, 0.0, True))
    for step, rate in enumerate(load.rates_per_s):
        for repeat in range(load.blocks):
            pause_s = load.pause_s if step and repeat == 0 else 0.0
            rounds.append((step, rate, load.block_s, pause_s, False))
    number = first_block
    for index, (step, rate, duration_s, pause_s, warmup) in enumerate(rounds):
        start_s += pause_s
        turn = index - (1 if load.warmup_s > 0 else 0)
        reverse = load.order == "ABBA" and not warmup and turn % 2 == 1
        for arm in reversed(batch) if reverse else batch:
            yield Block(
                block=number,
                pair=first_pair + index,
                arm=arm,
                step=step,
                rate_per_s=rate,
                start_s=start_s,
                duration_s=duration_s,
                warmup=warmup,
            )
            number += 1
            start_s += duration_s


def _personalities(arm: PlannedArm, arrivals: float) -> int:
    """Give the popular ones plus a Poisson count of cold ones six deviations above its mean."""
    cold = float(arm.knob("cold_fraction")) * arrivals
    popular = int(arm.knob("popular"))
    return popular + math.ceil(cold + 6 * math.sqrt(cold)) + 100
