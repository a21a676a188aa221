"""The sentence that decides: each word from one estimate, whose whole interval must say it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.document.setting import Setting
from analysis.questions.cost.answer import Cost, CostChange, CostRow
from analysis.questions.database_load.answer import DatabaseLoad, ReductionRow
from analysis.questions.faster.answer import EndToEndRow, Faster
from analysis.questions.findings import Findings
from analysis.questions.headline import decision, gain_panel
from analysis.stats.intervals import Estimate, decide
from tests.support.runs.report_findings import cache_findings

Ends = tuple[float, float]


def between(low: float, high: float, unit: str = "share") -> Estimate:
    """An estimate by its interval."""
    return Estimate(value=(low + high) / 2, low=low, high=high, unit=unit, n=100, blocks=12)


def told(*, factor: Ends, users: Ends, cpu: Ends | None) -> Findings:
    """Findings with three changes of known intervals and a cache that only one arm has."""
    ms = between(1.0, 1.2, "ms")
    load = ReductionRow(
        arm="on",
        step=None,
        collection=None,
        before=between(4.9, 5.1, "count"),
        after=between(3.9, 4.1, "count"),
        factor=between(*factor, unit="factor"),
        saved_per_request=ms,
        saved_per_s=ms,
        decided="",
    )
    time = EndToEndRow(
        arm="on",
        step=None,
        time="response",
        statistic="mean",
        before=ms,
        after=ms,
        difference=ms,
        relative=between(*users),
        decided="",
        left_out=0,
        unanswered=0,
        slow_failures=0,
    )
    changes = (
        ()
        if cpu is None
        else (
            CostChange(
                resource="database_cpu",
                arm="on",
                before=ms,
                after=ms,
                difference=ms,
                relative=between(*cpu),
                decided=decide(between(*cpu)),
            ),
        )
    )
    redis = CostRow(resource="cache_cpu", arm="on", step=None, per_request=ms, idle_per_s=None)
    found = cache_findings()
    return replace(
        found,
        answers=(
            replace(found.of(DatabaseLoad), reductions=(load,)),
            replace(found.of(Faster), end_to_end=(time,)),
            Cost(rows=(redis,), changes=changes, cores=(), shared=()),
        ),
    )


@pytest.mark.parametrize(
    ("factor", "users", "cpu", "sentence"),
    [
        (
            (1.2, 1.3),
            (-0.01, 0.01),
            (-0.04, 0.03),
            "Yes for the database's query rate, no for users, no for its CPU.",
        ),
        (
            (1.2, 1.3),
            (-0.2, -0.1),
            (-0.4, 0.2),
            "Yes for the database's query rate, yes for users, not decided for its CPU.",
        ),
        (
            (0.7, 0.8),
            (-0.1, 0.1),
            (-0.6, -0.5),
            "No for the database's query rate, not decided for users, yes for its CPU.",
        ),
        (
            (1.0, 1.2),
            (0.1, 0.2),
            None,
            "Not decided for the database's query rate, no for users.",
        ),
    ],
)
def test_each_word_is_what_its_whole_interval_says(
    factor: Ends, users: Ends, cpu: Ends | None, sentence: str
) -> None:
    """A no excludes every saving that matters; a wide interval decides nothing."""
    found = told(factor=factor, users=users, cpu=cpu)
    decided = decision.decisions(found, "on")

    assert decision.sentence(decided) == sentence
    assert all(one.change.has_interval for one in decided)


def test_gain_and_cost_stand_in_one_picture() -> None:
    """Also the CPU of a cache that the baseline does without; without any CPU, no picture."""
    setting = Setting(
        arms=("off", "on"),
        treatment="on",
        cached_operation=None,
        cached_collection=None,
        profile="native",
    )
    drawing = gain_panel.drawing(
        told(factor=(1.2, 1.3), users=(-0.01, 0.01), cpu=(-0.04, 0.03)), setting
    )

    assert drawing is not None
    for row in ("Time of a request", "All database queries", "CPU of PostgreSQL"):
        assert f"{row}: " in drawing.alt
    assert "CPU of Redis: none → 1.10\u202fms." in drawing.alt
    assert drawing.draw(narrow=False).axes
    bare = told(factor=(1.2, 1.3), users=(-0.01, 0.01), cpu=None)
    assert gain_panel.drawing(bare, setting) is None
