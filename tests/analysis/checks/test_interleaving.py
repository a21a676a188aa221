"""Arms that were not interleaved are told, whoever sent the load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.checks.interleaving import about_interleaving, took_turns
from analysis.questions.comparison.answer import compare, side
from analysis.rundir.manifest import Arm, Block, Manifest
from analysis.rundir.placing import place
from analysis.rundir.run import Run
from worthit.contract.tables import REQUESTS, SPANS

SECOND_NS = 1_000_000_000


def manifest(order: str) -> Manifest:
    """Arms of one letter, a block a second; the n-th of each are a pair; A is the baseline."""
    blocks = tuple(
        Block(
            block=number,
            pair=order[:number].count(arm),
            arm=arm,
            step=0,
            rate_per_s=1.0,
            start_ns=number * SECOND_NS,
            end_ns=(number + 1) * SECOND_NS,
        )
        for number, arm in enumerate(order)
    )
    arms = tuple(Arm(name=arm) for arm in sorted(set(order)))
    return Manifest(format_version=1, run_id="r", arms=arms, blocks=blocks)


@pytest.mark.parametrize(
    "order",
    ["ABBAABBAABBA", "ABABABABABAB", "ABCCBAABCCBA", "AABBAABBAABB", "A", "BABAAB"],
)
def test_arms_that_take_turns_raise_no_issue(order: str) -> None:
    """In any order in which the machine meets the arms alike."""
    assert [] == about_interleaving(manifest(order))


@pytest.mark.parametrize("order", ["AB", "BA", "AABB"])
def test_so_few_blocks_one_after_the_other_are_noted(order: str) -> None:
    """No interval of a time comes of so few, but the numbers stand side by side."""
    (issue,) = about_interleaving(manifest(order))

    assert "NOTED" == issue.level.name
    assert issue.sentence.startswith("A and B ran one wholly before the other")


@pytest.mark.parametrize(
    ("order", "turns"),
    [("ABBA", True), ("ABAB", True), ("AB", False), ("AABB", False), ("BA", False), ("A", False)],
)
def test_arms_are_paired_only_where_they_took_turns(order: str, *, turns: bool) -> None:
    """Two arms of a block each, or all of one before all of the other, are not called paired."""
    assert took_turns(manifest(order), "A", "B") is turns


@pytest.mark.parametrize(
    "order", ["AAAAAABBBBBB", "BBBBBBAAAAAA", "AAABBBBBBAAA", "AAAABBBBAAAABBBB"]
)
def test_arms_that_ran_one_after_the_other_are_an_issue(order: str) -> None:
    """Why and what to do are said."""
    (issue,) = about_interleaving(manifest(order))

    assert "SUSPECT" == issue.level.name
    assert "a pair of A and B ran" in issue.sentence
    assert "interleave the blocks (A B, B A, A B)" in issue.sentence


def test_every_arm_that_did_not_take_turns_is_named() -> None:
    """C and D came after all of A; B alternated with it."""
    (issue,) = about_interleaving(manifest("ABABABAB" + "CCCC" + "DDDD"))

    assert (
        "a pair of A and C ran 4 blocks apart on average; interleaved blocks run 1 apart."
        in issue.sentence
    )
    assert issue.sentence.endswith("The same is true of D.")


def test_a_recording_of_one_arm_after_the_other_is_told(tmp_path: Path) -> None:
    """Its blocks pair by order of occurrence, whenever they ran: the verdict says so."""
    rows = [
        {
            "trace_id": f"{at:032x}",
            "span_id": f"{at:016x}",
            "kind": "SERVER",
            "arm": arm,
            "step": 0,
            "block": block,
            "start_ns": at * SECOND_NS,
            "duration_ns": SECOND_NS,
        }
        for at, (arm, block) in enumerate([(arm, b) for arm in ("off", "on") for b in range(6)])
    ]
    for name, made, schema in (("spans", rows, SPANS), ("requests", [], REQUESTS)):
        pq.write_table(pa.Table.from_pylist(made, schema=schema), tmp_path / f"{name}.parquet")
    found = place(tmp_path, Manifest(format_version=1, run_id="r"))

    issues = about_interleaving(
        Manifest(
            format_version=1, run_id="r", arms=found.arms, steps=found.steps, blocks=found.blocks
        )
    )

    assert ["SUSPECT"] == [issue.level.name for issue in issues]


def test_a_comparison_of_such_arms_says_so(run: Run) -> None:
    """Two arms of the synthetic run are interleaved, and no longer when one comes last."""
    later = tuple(
        replace(block, start_ns=block.start_ns + 10**15) if block.arm == "on" else block
        for block in run.manifest.blocks
    )
    apart = replace(run, manifest=replace(run.manifest, blocks=later))

    as_planned = compare(side(run, "off"), side(run, "on"))
    one_by_one = compare(side(apart, "off"), side(apart, "on"))

    assert (True, ()) == (as_planned.paired, as_planned.reasons_against)
    assert one_by_one.same_run
    assert not one_by_one.paired
    assert not any("paired" in row.difference.method for row in one_by_one.rows)
    assert "The arms were not interleaved" in one_by_one.reasons_against[0]
