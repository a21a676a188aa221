"""Is a whole request the same, within a margin that matters?"""

from __future__ import annotations

from matplotlib.figure import Figure

from analysis.document import estimates as written
from analysis.document import formatting
from analysis.document.document import Column, Drawing, Section
from analysis.document.setting import Setting
from analysis.document.tables import COUNTED, SET, Field, estimates, exact, tabulate, words
from analysis.questions.equivalence import figure as equivalence_figure
from analysis.questions.equivalence.answer import Equivalence, EquivalenceRow, margin_ends
from analysis.questions.equivalence.figure import Change
from analysis.questions.findings import Findings

QUESTION = "Is a whole request the same, within a margin that matters?"

LEAST_P = 0.001
"""A p-value below this is not worth its digits."""

_P_VALUE = "says by itself how sure the answer is"


def section(findings: Findings, setting: Setting) -> Section | None:
    """Two one-sided tests against a margin, and the difference drawn inside it."""
    rows = [row for row in findings.of(Equivalence).rows if row.arm == setting.treatment]
    if not rows:
        return None
    fields: tuple[Field[EquivalenceRow], ...] = (
        words("Quantity", lambda row: row.what),
        exact("Margin", lambda row: row.margin, "share", why=SET),
        estimates("Change, 90 % interval", lambda row: row.change),
        exact("Pairs of blocks", lambda row: row.pairs, why=COUNTED, sample=True),
        Field(column=Column(label="p", numeric=True, without=_P_VALUE), write=_p_value),
        words("Decided", lambda row: row.decided),
    )
    return Section(
        key="equivalence",
        question=QUESTION,
        answer=_answer(rows[0]),
        reading=(
            "“Not different” is not “the same”. It is the same only if the whole 90 % interval, to"
            " which two tests at 5 % amount, lies in the shaded margin, which is fixed beforehand."
        ),
        emulated=setting.emulated("The response times are mostly those of the profile."),
        sample=(
            f"{formatting.count(rows[0].pairs)} pairs of blocks; two one-sided tests at 5 % each."
        ),
        drawings=_drawings(rows),
        tables=(tabulate(rows, fields, "Equivalence"),),
    )


def _answer(row: EquivalenceRow) -> str:
    """Whether the same, with the margin in percent."""
    margin = formatting.plain(row.margin, "share")
    if row.decided == "same":
        return f"The mean response time is the same within {margin}."
    if not row.change.is_known:
        return row.sentence
    return (
        f"Not shown: the mean response time changed by {written.said(row.change)}, and that does"
        f" not lie within ±{margin}."
    )


def _p_value(row: EquivalenceRow) -> str:
    """The p-value, not below what anybody would distinguish."""
    is_tiny = row.p_value is not None and row.p_value < LEAST_P
    return f"< {LEAST_P:g}" if is_tiny else formatting.plain(row.p_value)


def _drawings(rows: list[EquivalenceRow]) -> tuple[Drawing, ...]:
    """The change of the mean with the interval that decided, in the margin."""
    changes = [Change(what=row.what, estimate=row.change) for row in rows if row.change.is_known]
    margin = rows[0].margin
    if not changes or not margin:
        return ()

    def draw(*, narrow: bool) -> Figure:
        return equivalence_figure.figure(changes, margin_ends(margin), narrow=narrow)

    alt = (
        f"Relative difference of the mean response time: {written.text(changes[0].estimate)},"
        f" against a margin of {formatting.plain(margin, 'share')}."
    )
    return (Drawing(name="equivalence", alt=alt, draw=draw),)
