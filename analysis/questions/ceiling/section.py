"""What would have been the most that this could give?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from analysis.document.document import Drawing, Section
from analysis.document.numbers import frame, number_in
from analysis.document.setting import Setting
from analysis.document.tabulation import (
    Record,
    estimates,
    plain_numbers,
    sample_sizes,
    tabulate,
    words,
)
from analysis.questions.ceiling import figure as ceiling_figure

QUESTION = "What would have been the most that this could give?"

MAX_ROWS = 12
"""The longest operations; the cached one is always among those shown."""


def section(findings: Mapping[str, Any], setting: Setting) -> Section | None:
    """Amdahl's ceiling of every operation, the cached one called out."""
    rows = records(findings.get("ceiling"))
    if not rows:
        return None
    shown = rows[:MAX_ROWS]
    shown += [row for row in rows[MAX_ROWS:] if row.get("operation") == setting.cached_operation]
    table = frame(shown, ("operation", "share"))
    table["strong"] = table["operation"] == setting.cached_operation

    def draw(*, narrow: bool) -> Figure:
        return ceiling_figure.figure(table, narrow=narrow)

    fields = (
        words("Operation", "operation", code=True),
        estimates("Share of a request", "share", "share"),
        estimates("Faster at most", "speedup_at_most", "ratio"),
        estimates("Saves at most", "saves_at_most_ms", "ms"),
        plain_numbers("Queries a request", "queries_per_request"),
        plain_numbers("Of all queries", "queries_saved_at_most", "share"),
        sample_sizes("share", "Spans"),
    )
    said = "; ".join(
        f"{row['operation']}: {number_in(row, 'share', 'share').text}" for row in shown
    )
    return Section(
        key="ceiling",
        question=QUESTION,
        answer=_answer(rows, setting),
        reading=(
            "An operation that took no time at all would make a request shorter by its share "
            "and by"
            " no more. The axis is logarithmic: one line to the next is ten times as much."
        ),
        emulated=setting.emulated("The shares are those of the profile's durations."),
        sample="The baseline arm's requests; 95 % intervals from the spread between blocks.",
        drawings=(
            Drawing(name="ceiling", alt=f"Share of a request by operation. {said}.", draw=draw),
        ),
        tables=(tabulate(shown, fields, "Each operation's ceiling, without the optimisation"),),
    )


def records(found: Any) -> list[Record]:  # noqa: ANN401 - findings are JSON
    """The rows, whether the findings hold them bare or under a name."""
    if isinstance(found, Mapping):
        return next((list(rows) for rows in found.values() if isinstance(rows, list)), [])
    return list(found or ())


def _answer(rows: list[Record], setting: Setting) -> str:
    """The cached operation's ceiling in one sentence."""
    for row in rows:
        if row.get("operation") == setting.cached_operation:
            saves = number_in(row, "saves_at_most_ms", "ms")
            share = number_in(row, "share", "share")
            return (
                f"Without {setting.cached_operation} altogether a request would be {saves.text}"
                f" shorter, {share.text} of it: no cache in front of it can give more."
            )
    longest = number_in(rows[0], "share", "share")
    return (
        f"The longest operation is {rows[0].get('operation')} with {longest.text} of a "
        "request's time."
    )
