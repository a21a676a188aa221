"""Is a whole request the same, within a margin that matters?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.document import formatting
from analysis.document.document import Drawing, Section
from analysis.document.numbers import number
from analysis.document.setting import Setting
from analysis.document.tabulation import (
    Field,
    Record,
    estimates,
    plain_column,
    plain_numbers,
    tabulate,
    words,
)
from analysis.questions.equivalence import figure as equivalence_figure
from analysis.questions.equivalence.answer import margin_ends
from analysis.questions.worth_caching.section import records

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
        estimates("Change, 90 % interval", "change"),
        plain_numbers("Pairs of blocks", "pairs"),
        Field(column=plain_column("p", "p_value"), write=_p_value),
        words("Decided", "decided"),
    )
    return Section(
        key="equivalence",
        question=QUESTION,
        answer=str(rows[0].get("sentence") or "Not decided."),
        reading=(
            "“Not different” is not “the same”. It is the same only if the whole 90 % interval, to"
            " which two tests at 5 % amount, lies in the shaded margin, which was named before the"
            " run."
        ),
        emulated=setting.emulated("The response times are mostly those of the profile."),
        sample=(
            f"{formatting.count(rows[0].get('pairs'))} pairs of blocks; two one-sided tests "
            "at 5 % each."
        ),
        drawings=_drawings(rows, margin),
        tables=(tabulate(rows, fields, "Equivalence"),),
    )


def _p_value(record: Record) -> str:
    """The p-value, not below what anybody would distinguish."""
    value = number(record.get("p_value")).value
    return f"< {LEAST_P:g}" if value is not None and value < LEAST_P else formatting.plain(value)


def _drawings(rows: list[Record], margin: float) -> tuple[Drawing, ...]:
    """The change of the mean with the interval that decided, in the margin."""
    changes = [(str(row.get("what")), number(row.get("change"))) for row in rows]
    drawn = [(name, one.value, one.low, one.high) for name, one in changes if one.is_known]
    if not drawn or not margin:
        return ()
    table = pd.DataFrame(drawn, columns=["label", "value", "low", "high"])
    ends = margin_ends(margin)

    def draw(*, narrow: bool) -> Figure:
        return equivalence_figure.figure(table, ends, narrow=narrow)

    said = formatting.estimate(*drawn[0][1:], "share")
    alt = (
        f"Relative difference of the mean response time: {said}, against a margin of "
        f"{formatting.plain(margin, 'share')}."
    )
    return (Drawing(name="equivalence", alt=alt, draw=draw),)
