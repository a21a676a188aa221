from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from worthit.contract.plan import Block, Plan, PlanError, parse, read
from worthit.contract.scenario_arguments import (
    fraction_from_0_to_1,
    number_from_0,
    whole_number_from_1,
)
from worthit.load.arguments import plan_from, rates, seconds, with_knobs

BLOCK = {
    "block": 0,
    "pair": 0,
    "arm": "off",
    "step": 0,
    "rate_per_s": 10.0,
    "start_s": 0.0,
    "duration_s": 6.0,
    "host": "http://127.0.0.1:8001/",
    "warmup": False,
}
PLAN = {"run": "id", "seed": 7, "arrivals": "poisson", "scenario": "chat", "blocks": [BLOCK]}


def changed(**changes: object) -> dict[str, Any]:
    """Return the plan with one block that differs."""
    return {**PLAN, "blocks": [{**BLOCK, **changes}]}


def test_the_documented_plan_is_read(tmp_path: Path) -> None:
    """The plan that docs/load.md shows is read as it stands."""
    page = Path(__file__).parents[3] / "docs" / "load.md"
    shown = page.read_text(encoding="utf-8").split("## The plan")[1].split("```json")[1]
    (tmp_path / "plan.json").write_text(shown.split("```")[0], encoding="utf-8")

    plan = read(tmp_path / "plan.json")

    assert (plan.run, plan.scenario, plan.knobs) == ("id", "chat", {"cold_fraction": 0.05})
    assert plan.blocks[0].expected_arrivals == 60.0


def test_a_plan_survives_the_way_to_a_worker() -> None:
    """A plan that was sent as JSON and read again is the same plan."""
    plan = parse(changed(rate_end_per_s=20, knobs={"cold_fraction": 1}))

    assert parse(json.loads(json.dumps(plan.as_json()))) == plan


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "is list, not an object"),
        ({**PLAN, "blocks": []}, "has no blocks"),
        ({**PLAN, "sed": 7}, "the unknown key 'sed'"),
        ({**PLAN, "seed": -1}, "has seed -1; a whole number from 0 up to 2^63 was"),
        ({**PLAN, "seed": 2**64}, "a whole number from 0 up to 2^63 was expected"),
        ({**PLAN, "run": 5}, "has run 5; text was expected"),
        ({**PLAN, "scenario": 5}, "has scenario 5; a scenario's name or null was expected"),
        ({**PLAN, "start_at_ns": "now"}, "has start_at_ns 'now'; integer nanoseconds"),
        (changed(pair=10**12), "a whole number from 0 up, below 1000000000 was expected"),
        ({**PLAN, "arrivals": "regular"}, "'regular'; one of poisson, even, replay was expected"),
        (
            {**PLAN, "arrivals": "replay"},
            "the name of a run directory or a requests.parquet was expected",
        ),
        ({**PLAN, "knobs": [1]}, "an object of names and values was expected"),
        (changed(rate_per_s="fast"), "rate_per_s 'fast'; a number from 0 up was expected"),
        (changed(rate_per_s=float("nan")), "rate_per_s nan"),
        (changed(rate_per_s=True), "rate_per_s True"),
        (changed(duration_s=-1), "duration_s -1"),
        (changed(step=1000), "step 1000; a whole number from 0 up, below 1000 was expected"),
        (changed(block=0.5), "block 0.5; a whole number from 0 up"),
        (changed(warmup=1), "warmup 1; true or false was expected"),
        (changed(knobs=[]), "knobs []; an object was expected"),
        (changed(arm=None), "lacks 'arm'"),
        (changed(host=8001), "host 8001; text was expected"),
        (changed(rate_per_s=1e6), "more than the 1000000 draws of a block"),
        ({**PLAN, "blocks": [BLOCK, {**BLOCK, "block": 1, "start_s": 5.9}]}, "follow one another"),
    ],
)
def test_a_wrong_plan_says_what_is_wrong(document: object, words: str) -> None:
    """Each wrong plan is refused in one line that says what was found and expected."""
    with pytest.raises(PlanError) as refused:
        parse(document)

    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[1, 2"])
def test_a_file_that_is_no_json_is_refused(tmp_path: Path, text: str) -> None:
    """A plan file that is not JSON, or not there, is refused by name."""
    path = tmp_path / "plan.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(PlanError, match="is not JSON"):
        read(path)
    with pytest.raises(PlanError, match="cannot be read"):
        read(tmp_path / "nowhere.json")


def test_rates_are_steps_and_ramps() -> None:
    """``50,100:200`` is a step of 50 and a ramp from 100 to 200."""
    assert rates("50,100:200") == [(50.0, None), (100.0, 200.0)]


@pytest.mark.parametrize("text", ["fast", "1:2:3", "", "5,,5", "-1", "nan", "inf"])
def test_a_wrong_rate_is_refused(text: str) -> None:
    """What is no rate is refused, never taken for 0."""
    with pytest.raises(PlanError):
        rates(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("20", 20.0), ("1.5m", 90.0), ("1h20m", 4800.0), ("250ms", 0.25)]
)
def test_durations_are_read(text: str, expected: float) -> None:
    """Durations are written as Locust writes them."""
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "0", "5 apples", "-3s"])
def test_a_wrong_duration_is_refused(text: str) -> None:
    """What is no duration is refused."""
    with pytest.raises(PlanError):
        seconds(text)


def options(**changes: object) -> argparse.Namespace:
    """Return Locust's options as they are without arguments."""
    values: dict[str, object] = {
        "worthit_plan": "",
        "arrivals": "poisson",
        "duration": "10s",
        "arrival_rate": "",
        "worthit_arm": "-",
        "worthit_run": "run",
        "load_seed": 7,
        "replay": "",
        **changes,
    }
    return argparse.Namespace(**values)


def made(**changes: object) -> Plan:
    """Return the plan that arguments make."""
    return plan_from(
        options(**changes), scenario="chat", default_rate="5", host="http://x", knobs={}
    )


def test_arguments_make_a_plan_of_steps() -> None:
    """Each rate is a step of the duration, one after the other."""
    blocks = made(arrival_rate="10,20:40").blocks

    assert [(b.step, b.start_s, b.duration_s, b.rate_per_s, b.rate_end_per_s) for b in blocks] == [
        (0, 0.0, 10.0, 10.0, None),
        (1, 10.0, 10.0, 20.0, 40.0),
    ]


def test_without_a_rate_the_scenario_has_its_own() -> None:
    """An empty --arrival-rate means the scenario's default."""
    assert [block.rate_per_s for block in made().blocks] == [5.0]


def test_a_long_step_is_cut_so_that_draws_stay_apart() -> None:
    """An hour at 500/s is cut into pairs of fewer than a million draws; a ramp stays one ramp."""
    hour = made(arrival_rate="500", duration="1h").blocks
    ramp = made(arrival_rate="0:1000", duration="1h").blocks

    assert [block.pair for block in hour] == [0, 1]
    assert sum(block.expected_arrivals for block in hour) == 1_800_000
    assert all(block.expected_arrivals < 1_000_000 for block in (*hour, *ramp))
    assert [b.rate_per_s for b in ramp[1:]] == [b.rate_end_per_s for b in ramp[:-1]]


def test_knobs_of_a_block_override_the_plans_and_those_the_arguments() -> None:
    """A block's own knob wins over the plan's, the plan's over the argument's; types are kept."""
    actions = {
        name: argparse.Namespace(type=kind)
        for name, kind in (("cold_fraction", float), ("popular", int), ("order", None))
    }
    given = {"cold_fraction": 0.5, "popular": 50, "order": "uniform"}
    plan = parse({**changed(knobs={"popular": "9"}), "knobs": {"cold_fraction": 1}})

    resolved = with_knobs(plan, actions, given)

    assert resolved.knobs == {"cold_fraction": 1.0, "popular": 50, "order": "uniform"}
    assert resolved.blocks[0].knobs == {"cold_fraction": 1.0, "popular": 9, "order": "uniform"}


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (whole_number_from_1, ["1", 50, 3.0], ["0", -1, "1.5", 2.5, "many", ""]),
        (fraction_from_0_to_1, ["0", 1, "0.05"], ["-0.1", 1.1, "nan", "half"]),
        (number_from_0, ["0", 2.5], ["-1", "inf", "nan", ""]),
    ],
)
def test_knobs_refuse_what_no_run_can_be_made_of(
    kind: Callable[[object], float], good: list[object], bad: list[object]
) -> None:
    """Counts start at 1, fractions end at 1, numbers are finite; text and numbers alike."""
    assert [kind(value) for value in good] == [float(str(value)) for value in good]
    for value in bad:
        with pytest.raises(ValueError):  # noqa: PT011 - argparse and with_knobs make the sentence
            kind(value)


@pytest.mark.parametrize("knobs", [{"colf_fraction": 1}, {"cold_fraction": "much"}])
def test_a_wrong_knob_is_refused(knobs: dict[str, object]) -> None:
    """A knob that no scenario has, or of a wrong kind, is refused."""
    actions = {"cold_fraction": argparse.Namespace(type=float)}

    with pytest.raises(PlanError):
        with_knobs(parse({**PLAN, "knobs": knobs}), actions, {"cold_fraction": 0.1})


def test_blocks_with_knobs_can_be_told_apart_in_a_cache() -> None:
    """A block with knobs can be a key, as the cache of baggage needs it."""
    block = parse(changed(knobs={"popular": 9})).blocks[0]

    assert isinstance(block, Block)
    assert {block: 1}[block] == 1
