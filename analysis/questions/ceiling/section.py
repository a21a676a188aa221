"""What would have been the most that this could give?"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from analysis.document import estimates as written
from analysis.document.document import Drawing, Section
from analysis.document.operations import labels
from analysis.document.setting import Setting
from analysis.document.tables import (
    COUNTED,
    Field,
    estimates,
    exact,
    sample_sizes,
    tabulate,
    words,
)
from analysis.questions.ceiling import figure as ceiling_figure
from analysis.questions.ceiling.answer import CeilingRow, Ceilings
from analysis.questions.ceiling.figure import Most
from analysis.questions.findings import Findings

QUESTION = "What would have been the most that this could give?"

MAX_ROWS = 12
"""The longest operations; the cached one is always among those shown."""


def section(findings: Findings, setting: Setting) -> Section | None:
    """Amdahl's ceiling of every operation, the cached one called out."""
    rows = findings.of(Ceilings).rows
    if not rows:
        return None
    shown = [
        row
        for place, row in enumerate(rows)
        if place < MAX_ROWS or row.operation == setting.cached_operation
    ]
    fields: tuple[Field[CeilingRow], ...] = (
        words("Operation", labels(shown), code=True),
        estimates("Share of a request", lambda row: row.share),
        estimates("Faster at most", lambda row: row.speedup_at_most),
        estimates("Saves at most", lambda row: row.saves_at_most_ms),
        exact("Queries made in it", lambda row: row.queries_per_request, why=COUNTED),
        exact("Of all queries", lambda row: row.queries_saved_at_most, "share", why=COUNTED),
        sample_sizes(lambda row: row.share, "Spans"),
    )
    return Section(
        key="ceiling",
        question=QUESTION,
        answer=_answer(rows, setting),
        reading=(
            "An operation that took no time at all would make a request shorter by its share and"
            " by no more. The axis is logarithmic: one line to the next is ten times as much."
        ),
        emulated=setting.emulated("The shares are those of the profile's durations."),
        sample=(
            f"The requests of {setting.label(setting.baseline)}."
            if setting.baseline
            else "All requests."
        ),
        drawings=(_drawing(shown, setting),),
        tables=(tabulate(shown, fields, "Each operation's ceiling"),),
    )


def _answer(rows: Sequence[CeilingRow], setting: Setting) -> str:
    """The cached operation's ceiling in one sentence."""
    for row in rows:
        if row.operation == setting.cached_operation:
            return (
                f"Without {row.operation} altogether a request would be"
                f" {written.said(row.saves_at_most_ms)} shorter, {written.said(row.share)} of it:"
                " nothing done about it can give more."
            )
    longest = rows[0]
    if not longest.share.is_known:
        return "No span took any time, so nothing can be saved."
    return (
        f"The longest operation is {longest.operation} with {written.said(longest.share)} of a"
        " request's time."
    )


def _drawing(shown: Sequence[CeilingRow], setting: Setting) -> Drawing:
    """The operations' shares, the cached one called out."""
    label = labels(shown)
    most = [
        Most(
            operation=label(row),
            share=row.share,
            strong=row.operation == setting.cached_operation,
        )
        for row in shown
    ]

    def draw(*, narrow: bool) -> Figure:
        return ceiling_figure.figure(most, narrow=narrow)

    said = "; ".join(f"{label(row)}: {written.text(row.share)}" for row in shown)
    return Drawing(name="ceiling", alt=f"Share of a request by operation. {said}.", draw=draw)
