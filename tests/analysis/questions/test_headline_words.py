"""The headline's sentences where a number points the other way, or has one end only."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from analysis.document import formatting
from analysis.document.setting import setting_of
from analysis.questions.catalogue import QUESTIONS
from analysis.questions.headline.answer import headline
from analysis.rundir.manifest import Arm, Manifest
from tests.support.runs.report_findings import typed


def _changed(found: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(found)


def _sentences(document: dict[str, Any]) -> tuple[str, ...]:
    """Those after the one that decides."""
    return headline(typed(document)).sentences[1:]


def _set(cell: dict[str, Any], value: float | None, low: float | None, high: float | None) -> None:
    cell.update(value=value, low=low, high=high)


def _relative(found: dict[str, Any]) -> dict[str, Any]:
    row = next(
        row
        for row in found["faster"]["end_to_end"]
        if (row["step"], row["time"], row["statistic"]) == (None, "response", "mean")
    )
    cell: dict[str, Any] = row["relative"]
    return cell


def _saved(found: dict[str, Any], name: str) -> dict[str, Any]:
    row = next(
        row
        for row in found["capacity"]["expectation"]
        if (row["arm"], row["collection"]) == ("on", "personalities")
    )
    cell: dict[str, Any] = row[name]
    return cell


def test_nobody_notices_only_if_the_whole_request_stays(found: dict[str, Any]) -> None:
    """A lookup of 0.2 % whose arm shortens the request by a quarter is noticed all the same."""
    other = _changed(found)
    _set(_relative(other), -0.25, -0.26, -0.24)

    assert "so users will not notice" in _sentences(found)[0]
    assert "but users may notice" in _sentences(other)[0]


@pytest.mark.parametrize("ends", [(None, None), (-0.2, 0.2)])
def test_what_is_not_decided_is_not_said(
    found: dict[str, Any], ends: tuple[float | None, float | None]
) -> None:
    """Without an interval within what nobody notices there is no word on noticing."""
    other = _changed(found)
    _set(_relative(other), -0.001, *ends)

    assert "notice" not in _sentences(other)[0]


def test_a_factor_below_one_is_more_work(found: dict[str, Any]) -> None:
    """0.8 times is said as 25 % more, and what is needed is not called saved."""
    other = _changed(found)
    law = other["law"]["law"][0]
    _set(law["measured"], 0.8, 0.75, 0.85)
    _set(_saved(other, "saved_queries_per_s"), -250.0, -300.0, -200.0)
    _set(_saved(other, "saved_connections"), -2.0, -2.5, -1.5)

    said = " ".join(_sentences(other)).replace("\u202f", " ")

    assert "does 25 % (18 to 33) more work on personalities" in said
    assert (
        "250 (200 to 300) more queries per second" in said or "250 more queries per second" in said
    )
    assert "more busy connections" in said
    assert "fewer queries per second" not in said
    assert "fewer busy" not in said


def test_an_arm_that_always_hits_is_told_with_at_least(found: dict[str, Any]) -> None:
    """Of two arms the one without a query saves most, and its factor has a lower end only."""
    other = _changed(found)
    other["run"]["arms"].append("prewarmed")
    for place in (other["law"]["law"], other["load"]["reductions"], other["load"]["hit_rates"]):
        place += [
            {**copy.deepcopy(row), "arm": "prewarmed"} for row in place if row["arm"] == "on"
        ]
    for row in other["load"]["reductions"]:
        if row["arm"] == "prewarmed" and row["collection"] == "personalities":
            _set(row["saved_per_request"], 1.0, 0.998, 1.0)
    law = other["law"]["law"][-1]
    for name in ("measured", "predicted"):
        _set(law[name], None, 561.3, None)
    law["decided"] = "not decided"

    told = headline(typed(other))

    assert "prewarmed" == told.arm
    assert "does at least 560 times less work on personalities" in told.sentences[2]
    assert "–" not in " ".join(told.sentences)


def test_failed_and_refused_requests_are_told(found: dict[str, Any]) -> None:
    """More than one in a thousand stands in the first sentence, with the arm."""
    other = _changed(found)
    row = next(row for row in other["failures"] if row["arm"] == "on")
    _set(row["refused"], 0.5, 0.48, 0.52)

    assert "refused" not in _sentences(found)[0]
    said = _sentences(other)[0].replace("\u202f", " ")
    assert "With on 50.0 % (48.0 to 52.0) of the requests were refused" in said


def test_a_hit_rate_that_the_load_was_told_to_make_is_called_so(found: dict[str, Any]) -> None:
    """With cold_fraction 0.05 a hit rate of 95 % is an input; with 0.5 it would be a finding."""
    said = []
    for cold in (0.05, 0.5):
        other = _changed(found)
        other["run"]["knobs"] = {"on": {"cold_fraction": cold}}
        said.append("hit rate (set by the load)" in _sentences(other)[1])

    assert [True, False] == said


def test_an_arm_without_a_query_can_be_drawn(found: dict[str, Any]) -> None:
    """An arm that makes no query at all has no place on a logarithmic axis, and does no harm."""
    other = _changed(found)
    for row in other["load"]["by_step"]:
        if row["arm"] == "on":
            _set(row["per_s"], 0.0, 0.0, 0.1)
    for row in other["capacity"]["expectation"]:
        if row["arm"] == "on":
            _set(row["queries_per_s"], 0.0, 0.0, 5.0)
    arms = (Arm(name="off", baseline=True), Arm(name="on"))
    about = {"cached_operation": "personality.lookup", "cached_collection": "personalities"}
    manifest = Manifest(format_version=1, run_id="r", arms=arms, **about)

    asked = next(question for question in QUESTIONS if question.key == "capacity")
    made = asked.section(typed(other), setting_of(manifest, "on")) if asked.section else None

    assert made is not None
    assert 2 == len(made.drawings[0].draw(narrow=False).axes)


def test_a_bound_is_written_as_one() -> None:
    """At least so much, rounded down; and blocks that all agree are no interval of no width."""
    assert "at least 640×" == formatting.estimate(None, 649.9, None, "ratio")
    assert "0\u202f% [in every block]" == formatting.estimate(0.0, 0.0, 0.0, "share")
