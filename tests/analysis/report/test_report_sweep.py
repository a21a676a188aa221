"""Runs of many arms: what is drawn, and of which arm is spoken."""

from __future__ import annotations

from dataclasses import replace

from analysis.document.setting import setting_of
from analysis.drawing import style
from analysis.drawing.labels import spread
from analysis.questions.cache_law import section as law
from analysis.questions.cache_law.answer import CacheLaw, LawRow
from analysis.questions.database_load import section as load
from analysis.questions.database_load.answer import (
    DatabaseLoad,
    HitRateRow,
    ReductionRow,
    StatementRow,
)
from analysis.questions.findings import Findings
from analysis.rundir.manifest import Arm, Manifest
from analysis.stats.intervals import Estimate
from tests.support.runs.report_findings import cache_findings, run_facts, with_answers

ARMS = ("off", "on.cold-fraction=0.5", "on.cold-fraction=0.1", "on.cold-fraction=0.01")


def _manifest() -> Manifest:
    return Manifest(
        format_version=1, run_id="r", name="r", arms=tuple(Arm(name=arm) for arm in ARMS)
    )


def _estimate(value: float, unit: str) -> Estimate:
    high = min(1.1 * value, 1.0 if unit == "share" else 1e9)
    return Estimate(value=value, low=0.9 * value, high=high, unit=unit, n=100, blocks=6)


def _findings(*answers: object) -> Findings:
    return replace(cache_findings(), run=run_facts(arms=ARMS), answers=with_answers(*answers))


def _sweep() -> Findings:
    """Three arms whose caches miss half, a tenth and a hundredth of the lookups."""
    misses = dict(zip(ARMS[1:], (0.5, 0.1, 0.01), strict=True))
    law = CacheLaw(
        law=tuple(
            LawRow(
                arm=arm,
                measured=_estimate(1 / missed, "ratio"),
                predicted=_estimate(1 / missed, "ratio"),
                residual=_estimate(0.0, "share"),
                decided="as predicted" if missed < 0.3 else "not decided",
                sentence="As predicted.",
            )
            for arm, missed in misses.items()
        ),
        explained=(),
        misses=(),
    )
    rates = tuple(
        HitRateRow(
            arm=arm,
            step=None,
            lookups=100,
            hit_rate=_estimate(1 - missed, "share"),
            predicted_factor=_estimate(1 / missed, "ratio"),
        )
        for arm, missed in misses.items()
    )
    return _findings(law, replace(_NO_LOAD, hit_rates=rates))


_NO_LOAD = DatabaseLoad(
    by_step=(), reductions=(), hit_rates=(), predicted=(), statements=(), pool_waits=()
)


def test_figures_show_the_arm_of_the_answer_beside_the_baseline() -> None:
    """Four arms cannot be told apart side by side: the baseline and the told one are drawn."""
    setting = setting_of(_manifest(), "on.cold-fraction=0.01")
    assert ("off", "on.cold-fraction=0.01") == setting.shown
    assert set(ARMS) == set(setting.arms)
    assert setting_of(_manifest()).treatment == ARMS[1], "without an answer the first is told"


def test_the_law_has_a_point_for_every_arm() -> None:
    """A sweep of hit rates is one figure: each arm is a named point on it, the told one first."""
    setting = setting_of(_manifest(), "on.cold-fraction=0.01")
    section = law.section(_sweep(), setting)
    assert section is not None
    assert "as predicted in 2 of 3 arms" in section.answer
    figure = section.drawings[0].draw(narrow=False)
    written = [text.get_text() for text in figure.axes[0].texts]
    for name in ("cold fraction 0.5: ", "cold fraction 0.1: ", "cold fraction 0.01: "):
        assert any(text.startswith(name) for text in written), (name, written)
    assert section.tables[0].rows[0][0] == "on.cold-fraction=0.01"
    assert 3 == len(section.tables[0].rows)


def test_a_sweeps_arm_is_called_by_what_was_swept() -> None:
    """The name of the arm that is repeated tells none of its variants from another."""
    assert "cold fraction 0.01" == style.arm_label("on.cold-fraction=0.01")
    assert "on" == style.arm_label("on")


def test_names_stay_below_the_ceiling_and_apart() -> None:
    """Labels that all want the top make room downwards instead of leaving the figure."""
    places = spread([9.0, 9.5, 10.0], [2.0, 2.0, 2.0], ceiling=10.0)
    assert [5.0, 7.0, 9.0] == places


def test_the_load_section_tells_of_the_arm_that_it_names() -> None:
    """Of several treatments the reduction shown is that of the arm beside whose name it stands."""
    rows = tuple(
        ReductionRow(
            arm=arm,
            step=None,
            collection=None,
            before=_estimate(1.0, "per_request"),
            after=_estimate(1 / factor, "per_request"),
            factor=_estimate(factor, "ratio"),
            saved_per_request=_estimate(1 - 1 / factor, "per_request"),
            saved_per_s=_estimate(1 - 1 / factor, "per_s"),
            decided="higher",
        )
        for arm, factor in zip(ARMS[1:], (2.0, 10.0, 100.0), strict=True)
    )
    statement = StatementRow(
        arm="off",
        statement="SELECT x",
        collection=None,
        per_request=_estimate(1.0, "count"),
        mean_ms=_estimate(1.0, "ms"),
        per_s=_estimate(1.0, "per_s"),
    )
    findings = _findings(replace(_NO_LOAD, reductions=rows, statements=(statement,)))

    section = load.section(findings, setting_of(_manifest(), ARMS[3]))

    assert section is not None
    assert "in cold fraction 0.01, 100 times" in section.answer
