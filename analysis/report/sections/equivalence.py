"""Is a whole request the same, within a margin that matters?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis import formatting
from analysis.figures import equivalence as equivalence_figure
from analysis.report.document import Drawing, Section
from analysis.report.numbers import number
from analysis.report.sections.ceiling import records
from analysis.report.setting import Setting
from analysis.report.tabulation import Field, Record, plain_column, plain_numbers, tabulate, words

QUESTION = "Is a whole request the same, within a margin that matters?"


LEAST_P = 0.001
"""A p-value below this is not worth its digits."""


def section(findings: Mapping[str, Any], setting: Setting) -> Section | None:
    """Two one-sided tests against a margin, and the difference drawn inside it."""
    rows = [
        row for row in records(findings.get("equivalence")) if row.get("arm") == setting.treatment
    ]
    if not rows:
        return None
    margin = float(rows[0].get("margin") or 0.0)
    fields = (
        words("Quantity", "what"),
        plain_numbers("Margin", "margin", "share"),
        plain_numbers("Pairs of blocks", "pairs"),
        Field(column=plain_column("p", "p_value"), write=_p_value),
        words("Decided", "decided"),
    )
    return Section(
        key="equivalence",
        question=QUESTION,
        answer=str(rows[0].get("sentence") or "Not decided."),
        reading=(
            "“Not different” is not “the same”. It is the same only if the whole interval lies "
            "in the"
            " shaded margin, which was named before the run."
        ),
        emulated=setting.emulated("The response times are mostly those of the profile."),
        sample=(
            f"{formatting.count(rows[0].get('pairs'))} pairs of blocks; two one-sided tests "
            "at 5 % each."
        ),
        drawings=_drawings(findings, setting, margin),
        tables=(tabulate(rows, fields, "Equivalence"),),
    )


def _p_value(record: Record) -> str:
    """The p-value, not below what anybody would distinguish."""
    value = number(record.get("p_value")).value
    return f"< {LEAST_P:g}" if value is not None and value < LEAST_P else formatting.plain(value)


def _drawings(findings: Mapping[str, Any], setting: Setting, margin: float) -> tuple[Drawing, ...]:
    """The relative difference of the mean, in the margin."""
    rows = []
    for row in (findings.get("faster") or {}).get("end_to_end") or ():
        mine = row.get("arm") == setting.treatment and row.get("step") is None
        if mine and row.get("time") == "response" and row.get("statistic") == "mean":
            estimate = number(row.get("relative"))
            if estimate.is_known:
                rows.append(("mean response time", estimate.value, estimate.low, estimate.high))
    if not rows or not margin:
        return ()
    table = pd.DataFrame(rows, columns=["label", "value", "low", "high"])

    def draw(*, narrow: bool) -> Figure:
        return equivalence_figure.figure(table, margin, narrow=narrow)

    said = formatting.estimate(*rows[0][1:], "share")
    alt = (
        f"Relative difference of the mean response time: {said}, against a margin of "
        f"{formatting.plain(margin, 'share')}."
    )
    return (Drawing(name="equivalence", alt=alt, draw=draw),)
