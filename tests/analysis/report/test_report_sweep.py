"""Runs of many arms: what is drawn, and of which arm is spoken."""

from __future__ import annotations

from typing import Any

from analysis.document.setting import setting_of
from analysis.drawing import style
from analysis.drawing.labels import spread
from analysis.questions.cache_law import section as law
from analysis.questions.database_load import section as load
from analysis.rundir.manifest import Arm, Manifest

ARMS = ("off", "on.cold-fraction=0.5", "on.cold-fraction=0.1", "on.cold-fraction=0.01")


def _manifest() -> Manifest:
    return Manifest(
        format_version=1, run_id="r", name="r", arms=tuple(Arm(name=arm) for arm in ARMS)
    )


def _estimate(value: float, unit: str) -> dict[str, Any]:
    ends = {"low": 0.9 * value, "high": min(1.1 * value, 1.0 if unit == "share" else 1e9)}
    return {"value": value, **ends, "unit": unit, "n": 100, "blocks": 6, "reason": None}


def _findings() -> dict[str, Any]:
    misses = dict(zip(ARMS[1:], (0.5, 0.1, 0.01), strict=True))
    rows = [
        {
            "arm": arm,
            "measured": _estimate(1 / missed, "ratio"),
            "predicted": _estimate(1 / missed, "ratio"),
            "residual": _estimate(0.0, "share"),
            "decided": "as predicted" if missed < 0.3 else "not decided",
            "sentence": "As predicted.",
        }
        for arm, missed in misses.items()
    ]
    rates = [
        {"arm": arm, "step": None, "hit_rate": _estimate(1 - missed, "share")}
        for arm, missed in misses.items()
    ]
    return {"law": {"law": rows}, "load": {"hit_rates": rates}}


def test_figures_show_the_arm_of_the_answer_beside_the_baseline() -> None:
    """Four arms cannot be told apart side by side: the baseline and the told one are drawn."""
    setting = setting_of(_manifest(), "on.cold-fraction=0.01")
    assert ("off", "on.cold-fraction=0.01") == setting.shown
    assert set(ARMS) == set(setting.arms)
    assert setting_of(_manifest()).treatment == ARMS[1], "without an answer the first is told"


def test_the_law_has_a_point_for_every_arm() -> None:
    """A sweep of hit rates is one figure: each arm is a named point on it, the told one first."""
    setting = setting_of(_manifest(), "on.cold-fraction=0.01")
    section = law.section(_findings(), setting)
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
    assert "cache on" == style.arm_label("on")


def test_names_stay_below_the_ceiling_and_apart() -> None:
    """Labels that all want the top make room downwards instead of leaving the figure."""
    places = spread([9.0, 9.5, 10.0], [2.0, 2.0, 2.0], ceiling=10.0)
    assert [5.0, 7.0, 9.0] == places


def test_the_load_section_tells_of_the_arm_that_it_names() -> None:
    """Of several treatments the reduction shown is that of the arm beside whose name it stands."""
    rows = [
        {
            "arm": arm,
            "step": None,
            "collection": None,
            "before": _estimate(1.0, "per_request"),
            "after": _estimate(1 / factor, "per_request"),
            "factor": _estimate(factor, "ratio"),
        }
        for arm, factor in zip(ARMS[1:], (2.0, 10.0, 100.0), strict=True)
    ]
    statement = {"arm": "off", "statement": "SELECT x", "per_request": _estimate(1.0, "count")}
    findings = {"load": {"reductions": rows, "statements": [statement]}}

    section = load.section(findings, setting_of(_manifest(), ARMS[3]))

    assert section is not None
    assert "with cold fraction 0.01, 100×" in section.answer
