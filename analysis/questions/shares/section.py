"""Where does one request's time go?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from analysis.document import estimates as written
from analysis.document import formatting
from analysis.document.document import Drawing, Section, Table
from analysis.document.operations import labels
from analysis.document.setting import Setting
from analysis.document.tables import (
    Field,
    abreast,
    estimates,
    exact,
    fits_abreast,
    of_first,
    per_arm,
    sample_sizes,
    tabulate,
    words,
)
from analysis.drawing import style
from analysis.questions.emulated import Emulated
from analysis.questions.findings import Findings
from analysis.questions.shares import figure as shares_figure
from analysis.questions.shares.answer import ServiceRow, Shares, StageRow
from analysis.questions.shares.definitions import OTHERS
from analysis.questions.shares.figure import Bar
from analysis.stats.intervals import Estimate

QUESTION = "Where does one request's time go?"

MAX_STAGES = 10
"""The figure's rows; the table has all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A stage or an operation in one arm, with its emulated time if any."""

    arm: str | None
    label: str
    operation: str
    critical_ms: float
    whole: Estimate
    """Share of a request: with all that runs inside."""
    own: Estimate | None
    """Self share; none of a stage."""
    emulated: float | None
    """Share of the time with all that runs inside."""
    emulated_ms: float | None
    """Mean per request, of a stage."""


def section(findings: Findings, setting: Setting) -> Section | None:
    """Each stage's share of a request by arm, emulated and measured apart.

    Then each operation's.
    """
    shares, emulated = findings.of(Shares), findings.of(Emulated)
    if not shares.stages:
        return None
    of_stage = {(row.arm, row.service, row.operation): row for row in emulated.stages}
    inside = {
        (row.arm, row.service, row.operation): row.share
        for row in emulated.wholes
        if row.which == "all" and row.emulated_ms > 0
    }
    label = labels(shares.stages)
    stages = [
        _Line(
            arm=row.arm,
            label=label(row),
            operation=row.operation,
            critical_ms=row.critical_ms,
            whole=row.share,
            own=None,
            emulated=marked.share if marked else None,
            emulated_ms=marked.emulated_ms if marked else None,
        )
        for row in shares.stages
        for marked in [of_stage.get((row.arm, row.service, row.operation))]
    ]
    label = labels(shares.rows)
    operations = [
        _Line(
            arm=row.arm,
            label=label(row),
            operation=row.operation,
            critical_ms=row.critical_ms,
            whole=row.whole,
            own=row.share,
            emulated=inside.get((row.arm, row.service, row.operation)),
            emulated_ms=None,
        )
        for row in shares.rows
    ]
    stages, operations = _ordered(stages, setting), _ordered(operations, setting)
    return Section(
        key="shares",
        question=QUESTION,
        answer=_answer(shares.stages, setting),
        reading=(
            "A bar is the time for which a stage, with all that runs inside it, holds a request"
            " up; what runs meanwhile beside something longer does not count. The shares of one"
            " arm add up to 100 %."
        ),
        emulated=_said_of_emulation(emulated, setting),
        sample=_sample(shares, setting),
        drawings=(_drawing(stages, shares, setting),),
        tables=(
            _table(
                "Stage",
                stages,
                "By stage, with all that runs inside; the root's line is its own time;"
                " times are means per request",
                setting,
            ),
            _table(
                "Operation",
                operations,
                "By operation. Share of a request: its outermost spans with all that runs inside."
                " Self share: its own time, without what runs inside; these add up to 100 %."
                " Own time is a mean per request",
                setting,
            ),
            *_by_service(shares, setting),
        ),
        notes=_notes(shares, setting),
    )


def _ordered(lines: list[_Line], setting: Setting) -> list[_Line]:
    """Largest operation first, arms in their order."""
    place = {arm: at for at, arm in enumerate(setting.arms)}
    largest: dict[str, float] = {}
    for line in lines:
        largest[line.label] = max(line.whole.value or 0.0, largest.get(line.label, 0.0))
    return sorted(
        lines,
        key=lambda line: (
            -largest[line.label],
            line.label,
            place.get(line.arm or "", len(place)),
        ),
    )


def _answer(stages: Sequence[StageRow], setting: Setting) -> str:
    """The longest stage, and the one in question with and without the optimisation."""
    own = [row for row in stages if row.arm == setting.baseline] or stages
    longest = max(own, key=lambda row: row.share.value or 0.0)
    if not longest.share.is_known:
        return "No span took any time, so there is nothing to share out."
    several = len({row.arm for row in stages}) > 1
    where = f" in {setting.label(longest.arm)}" if several else ""
    largest = written.said(longest.share)
    parts = [f"The largest part, {largest}, goes to {longest.operation}{where}."]
    cached = {
        row.arm: written.said(row.share)
        for row in stages
        if row.operation == setting.cached_operation
    }
    if cached:
        said = ", ".join(f"{share} in {setting.label(arm)}" for arm, share in cached.items())
        parts.append(f"{setting.cached_operation} is {said}.")
    return " ".join(parts)


def _said_of_emulation(emulated: Emulated, setting: Setting) -> str:
    """How much of a request's time was emulated, arm by arm."""
    parts = [
        f"{setting.label(row.arm)}: {formatting.plain(row.share, 'share')} of the request's time"
        for row in emulated.rows
        if row.operation is None
    ]
    if parts:
        return f"{'; '.join(parts)}. The rest is measured."
    return setting.emulated("No span says that any of its time was emulated.")


def _sample(shares: Shares, setting: Setting) -> str:
    """How many requests took how long."""
    parts = [
        f"{setting.label(row.arm)}: {formatting.count(row.mean_ms.n)} requests of"
        f" {written.said(row.mean_ms)} in {formatting.count(row.mean_ms.blocks)} blocks"
        for row in shares.requests
    ]
    return f"{'; '.join(parts)}." if parts else ""


def _drawing(stages: list[_Line], shares: Shares, setting: Setting) -> Drawing:
    """The longest stages, the cached one always among them."""
    drawn = [line for line in stages if line.arm in {*setting.shown, None}]
    longest = list(dict.fromkeys(line.label for line in drawn))
    kept = {
        *longest[:MAX_STAGES],
        *(line.label for line in drawn if line.operation == setting.cached_operation),
    }
    bars = [
        Bar(
            arm=line.arm or style.NO_ARM,
            operation=line.label,
            critical_ms=line.critical_ms,
            emulated_ms=line.emulated_ms,
            share=line.whole,
            cached=line.operation == setting.cached_operation,
        )
        for line in drawn
        if line.label in kept
    ]
    place = {arm: at for at, arm in enumerate(setting.arms)}
    bars.sort(key=lambda bar: place.get(bar.arm, 0))

    def draw(*, narrow: bool) -> Figure:
        return shares_figure.figure(bars, narrow=narrow)

    said = "; ".join(
        f"{row.operation}, {setting.label(row.arm)}: {written.text(row.share)}"
        for row in shares.stages
    )
    return Drawing(name="shares", alt=f"Share of a request's time by stage. {said}.", draw=draw)


def _table(name: str, lines: list[_Line], caption: str, setting: Setting) -> Table:
    """Share, time, emulated part, n; the arms side by side where they fit."""
    operation: Field[_Line] = words(name, lambda line: line.label, code=True)
    has_own = any(line.own is not None for line in lines)
    fields: tuple[Field[_Line], ...] = (
        estimates("Share of a request", lambda line: line.whole),
        *((estimates("Self share", lambda line: line.own),) if has_own else ()),
        exact(
            "Own time" if has_own else "Time",
            lambda line: line.critical_ms,
            "ms",
            why="the share beside it, in milliseconds",
        ),
        exact(
            "Emulated",
            lambda line: line.emulated,
            "share",
            why="added up from the spans' own marks, over all time of the spans and what runs"
            " inside",
        ),
        sample_sizes(lambda line: line.whole, "Spans"),
    )
    if not fits_abreast(setting.columns):
        return tabulate(lines, (operation, words("Arm", lambda line: line.arm), *fields), caption)
    joined = abreast(lines, lambda line: line.label, lambda line: line.arm)
    columns = [column for field in fields for column in per_arm(field, setting.columns)]
    return tabulate(joined, (of_first(operation), *columns), caption)


def _by_service(shares: Shares, setting: Setting) -> tuple[Table, ...]:
    """All operations of each service together, where there are many."""
    if not shares.services:
        return ()
    service: Field[ServiceRow] = words("Service", lambda row: row.service, code=True)
    fields: tuple[Field[ServiceRow], ...] = (
        estimates("Self share", lambda row: row.share),
        exact(
            "Time", lambda row: row.critical_ms, "ms", why="the share beside it, in milliseconds"
        ),
    )
    caption = "By service, all its operations together; times are means per request"
    if not fits_abreast(setting.columns):
        arm: Field[ServiceRow] = words("Arm", lambda row: row.arm)
        return (tabulate(shares.services, (service, arm, *fields), caption),)
    joined = abreast(shares.services, lambda row: row.service, lambda row: row.arm)
    columns = [column for field in fields for column in per_arm(field, setting.columns)]
    return (tabulate(joined, (of_first(service), *columns), caption),)


def _notes(shares: Shares, setting: Setting) -> tuple[str, ...]:
    """How far another definition of the critical path would move the answer."""
    rows = shares.definitions
    if rows and all(row.moves == 0 for row in rows):
        return (
            "Jaeger's and CRISP's definitions of the critical path give exactly the same shares.",
        )
    return tuple(
        f"{setting.label(row.arm)}: of other definitions of the critical path"
        f" {OTHERS[row.rules]} would move the share of {row.operation} most, by"
        f" {formatting.plain(row.moves, 'share')} of a request."
        for row in rows
    )
