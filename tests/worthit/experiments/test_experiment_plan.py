"""Plans: which block runs when."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.support.runs.experiments import SMALL, experiment
from worthit.cli.terminal.plan_text import describe, limitations, lines
from worthit.experiments.plan import make_plan


def test_pairs_alternate_their_order() -> None:
    """At every step the arms run A B, B A, A B, B A: a linear drift meets both alike."""
    plan = make_plan(experiment())

    orders = [[b.arm for b in plan.blocks if b.step == step and not b.warmup] for step in range(2)]
    assert orders == [["off", "on", "on", "off", "off", "on", "on", "off"]] * 2


def test_a_linear_drift_cancels() -> None:
    """The arms' mean start times within a step are equal under ABBA."""
    plan = make_plan(experiment())

    for step in range(2):
        means = [
            sum(b.start_s for b in plan.blocks if (b.arm, b.step, b.warmup) == (arm, step, False))
            for arm in ("off", "on")
        ]
        assert means[0] == pytest.approx(means[1])


def test_blocks_stand_back_to_back() -> None:
    """Every block begins when the one before it ends, and numbers count up from 0."""
    plan = make_plan(experiment())

    assert list(range(len(plan.blocks))) == [b.block for b in plan.blocks]
    for earlier, later in pairwise(plan.blocks):
        assert later.start_s == pytest.approx(earlier.start_s + earlier.duration_s)
    assert plan.load_s == 2 * 3 + 2 * 4 * 2 * 2


def test_a_pair_is_one_step_with_every_arm_once() -> None:
    """Blocks of a pair have one step, one rate, one length, and each arm exactly once."""
    plan = make_plan(experiment())

    pairs: dict[int, list[str]] = {}
    facts: dict[int, set[tuple[int, float, float, bool]]] = {}
    for b in plan.blocks:
        pairs.setdefault(b.pair, []).append(b.arm)
        facts.setdefault(b.pair, set()).add((b.step, b.rate_per_s, b.duration_s, b.warmup))
    assert {("off", "on")} == {tuple(sorted(arms)) for arms in pairs.values()}
    assert {1} == {len(fact) for fact in facts.values()}


def test_warm_up_comes_first_and_is_marked() -> None:
    """One warm-up block of every arm stands before the first step, unless it is 0 s."""
    plan = make_plan(experiment())
    without = make_plan(experiment(warmup_s="0"))

    assert [b.warmup for b in plan.blocks[:3]] == [True, True, False]
    assert 2 == sum(b.warmup for b in plan.blocks)
    assert 0 == sum(b.warmup for b in without.blocks)
    assert [b.arm for b in without.blocks[:4]] == ["off", "on", "on", "off"]


def test_a_sweep_replaces_its_arm_by_one_a_value() -> None:
    """Sweeping a knob over three values gives the baseline and three arms with that knob."""
    text = SMALL + '\n[[sweep]]\narm = "on"\nset = "knobs.cold_fraction"\nvalues = [1.0, 0.5, 0]\n'
    plan = make_plan(experiment(text))

    assert [arm.name for arm in plan.arms] == [
        "off",
        "on.cold-fraction=1.0",
        "on.cold-fraction=0.5",
        "on.cold-fraction=0",
    ]
    assert [arm.knobs.get("cold_fraction") for arm in plan.arms] == [None, 1.0, 0.5, 0]
    assert [arm.baseline for arm in plan.arms] == [True, False, False, False]


def test_more_arms_than_fit_run_in_batches_with_the_baseline() -> None:
    """Seven arms run in two batches of at most four, each with the baseline; pairs stay unique."""
    text = (
        SMALL
        + '\n[[sweep]]\narm = "on"\nset = "env.PERSONALITY_TTL_SECONDS"\nvalues = [1,2,3,4,5,6]\n'
    )
    plan = make_plan(experiment(text))

    assert [len(batch) for batch in plan.batches] == [4, 4]
    assert [batch[0] for batch in plan.batches] == ["off", "off"]
    steps_of_pairs: dict[int, set[int]] = {}
    for b in plan.blocks:
        steps_of_pairs.setdefault(b.pair, set()).add(b.step)
    assert {1} == {len(steps) for steps in steps_of_pairs.values()}
    assert any("2 batches" in limitation for limitation in limitations(plan))


def test_there_are_personalities_for_every_cold_arrival() -> None:
    """The database holds the popular ones and more than the cold arrivals expected of any arm."""
    plan = make_plan(experiment())
    cold = make_plan(experiment(SMALL.replace("[[arms]]", KNOBS + "[[arms]]", 1)))

    expected = 3 * 5 + 2 * 4 * (5 + 20)  # of either arm: the arms draw alike
    assert expected == cold.arrivals("on")
    assert plan.personalities < cold.personalities
    assert cold.personalities > 50 + 0.5 * expected + 5 * (0.5 * expected) ** 0.5


KNOBS = "[load.knobs]\ncold_fraction = 0.5\n\n"


def test_a_plan_of_few_blocks_says_what_it_cannot_decide() -> None:
    """Four blocks an arm and step: the description says that two more are needed."""
    document = describe(make_plan(experiment()))

    assert (
        "4 blocks per arm and step give no interval for one step alone: 2 more are needed."
        in (document["limitations"])
    )
    assert any("takes about 1 min" in line for line in lines(document))
