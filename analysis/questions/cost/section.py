"""What does a request cost?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from matplotlib.figure import Figure

from analysis.document import estimates as written
from analysis.document import formatting
from analysis.document.document import Drawing, Section, Table
from analysis.document.setting import Setting
from analysis.document.tables import (
    SET,
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
from analysis.questions.cost import figure as cost_figure
from analysis.questions.cost.answer import CPU, RESOURCES, CoresRow, Cost, CostChange, CostRow
from analysis.questions.findings import Findings
from analysis.stats.family import NOT_DECIDED

QUESTION = "What does a request cost?"

LABELS: Final = {
    "service_cpu": "CPU of the service",
    "database_cpu": "CPU of PostgreSQL",
    "cache_cpu": "CPU of Redis",
    "llm_cpu": "CPU of the LLM simulator",
    "database_blocks_read": "Blocks that PostgreSQL read from outside its memory",
    "database_blocks_hit": "Blocks that PostgreSQL found in its memory",
    "database_rows_scanned": "Rows that PostgreSQL went through",
    "database_temp_bytes": "Temporary files of PostgreSQL",
    "cache_received": "Sent to Redis",
    "cache_sent": "Received from Redis",
}
"""How a resource is called."""

_COMPUTING = frozenset(one.key for one in RESOURCES if one.unit == CPU)


def section(findings: Findings, setting: Setting) -> Section | None:
    """CPU and what else a request uses, by arm, and what the change did to it."""
    cost = findings.of(Cost)
    whole = [row for row in cost.rows if row.step is None]
    if not whole:
        return None
    computing = [row for row in whole if row.resource in _COMPUTING]
    sizes = [(row.arm, row.per_request) for row in whole]
    return Section(
        key="cost",
        question=QUESTION,
        answer=_answer(cost, setting),
        reading=(
            "CPU time of each part over the number of requests, without what the part uses when"
            " nobody asks anything. Fewer queries with the same CPU need no smaller server."
        ),
        emulated=setting.emulated(
            "Nothing of this: the time that the profile adds is waited, not computed."
        ),
        sample=(
            f"{written.size(sizes, 'turns', setting.label)};"
            " counters of the processes and servers, sampled every second; 95 % intervals from the"
            " spread between an arm's turns: blocks of it without one of another arm between."
        ),
        drawings=(_drawing(computing, setting),) if computing else (),
        tables=(_by_part(whole, setting), *_changed(cost, setting), *_cores(cost)),
        notes=_notes(cost),
    )


def _answer(cost: Cost, setting: Setting) -> str:
    """What changed in each part's CPU, in one sentence a part."""
    said = [
        _sentence(change)
        for resource in LABELS
        if resource in _COMPUTING
        if (change := cost.change(resource, setting.treatment)) is not None
    ]
    if said:
        return " ".join(said)
    parts = [
        f"{LABELS[row.resource]}: {written.said(row.per_request)} per request."
        for row in cost.rows
        if row.step is None and row.resource in _COMPUTING
    ]
    return " ".join(parts) or "No part's CPU was measured in this run."


def _sentence(change: CostChange) -> str:
    """A part's CPU before and after, and whether it differs."""
    what = f"{LABELS[change.resource]} per request: {written.said_point(change.before)}"
    if change.decided == NOT_DECIDED:
        why = "; no difference could be decided" if change.difference.has_interval else ""
        return f"{what} and {written.said_point(change.after)}{why}."
    by = f" ({written.said(change.relative)})" if change.relative.has_interval else ""
    return f"{what}, then {written.said_point(change.after)}{by}."


def _drawing(rows: Sequence[CostRow], setting: Setting) -> Drawing:
    shown = [row for row in rows if row.arm in {*setting.shown, None}]

    def draw(*, narrow: bool) -> Figure:
        return cost_figure.figure(shown, LABELS, setting.shown, narrow=narrow)

    said = "; ".join(
        f"{LABELS[row.resource]} {row.arm or 'all'}: {written.point(row.per_request)}"
        for row in shown
    )
    return Drawing(name="cost", alt=f"CPU per request by part. {said}.", draw=draw)


def _by_part(rows: Sequence[CostRow], setting: Setting) -> Table:
    """One row per resource, the arms side by side."""
    caption = "Per request, over all rates"
    what: Field[CostRow] = words("Resource", lambda row: LABELS[row.resource])
    fields: tuple[Field[CostRow], ...] = (
        estimates("Per request", lambda row: row.per_request),
        sample_sizes(lambda row: row.per_request, "Requests"),
    )
    arms = setting.columns
    if not fits_abreast(arms):
        arm: Field[CostRow] = words("Arm", lambda row: row.arm, missing="all")
        return tabulate(rows, (what, arm, *fields), caption)
    together = [(None, "all")] if any(row.arm is None for row in rows) else []
    lines = abreast(rows, lambda row: row.resource, lambda row: row.arm)
    columns = [column for field in fields for column in per_arm(field, (*arms, *together))]
    return tabulate(lines, (of_first(what), *columns), caption)


def _changed(cost: Cost, setting: Setting) -> tuple[Table, ...]:
    fields: tuple[Field[CostChange], ...] = (
        words("Resource", lambda row: LABELS[row.resource]),
        words("Arm", lambda row: row.arm),
        estimates("Difference per request", lambda row: row.difference),
        estimates("Relative", lambda row: row.relative),
        sample_sizes(lambda row: row.difference, "Requests"),
    )
    rows = [row for row in cost.changes if row.arm in setting.arms]
    return (tabulate(rows, fields, "Against the baseline"),) if rows else ()


def _cores(cost: Cost) -> tuple[Table, ...]:
    fields: tuple[Field[CoresRow], ...] = (
        words("Resource", lambda row: LABELS[row.resource]),
        words("Arm", lambda row: row.arm, missing="all"),
        exact("Rate", lambda row: row.rate_per_s, "per_s", why=SET),
        estimates("Cores", lambda row: row.cores),
        sample_sizes(lambda row: row.cores, "Requests"),
    )
    rows = [row for row in cost.cores if row.cores.is_known]
    caption = "Cores at a rate that was not run, if a request costs as much there"
    return (tabulate(rows, fields, caption),) if rows else ()


def _notes(cost: Cost) -> tuple[str, ...]:
    idle: dict[str, list[str]] = {}
    unknown = set()
    for row in cost.rows:
        if row.step is not None or row.resource not in _COMPUTING:
            continue
        if row.idle_per_s is None:
            unknown.add(LABELS[row.resource])
        else:
            told = f"{formatting.plain(row.idle_per_s, 's')} per second"
            idle.setdefault(LABELS[row.resource], []).append(
                f"{told}{f' in {row.arm}' if row.arm else ''}"
            )
    notes = []
    if idle:
        parts = "; ".join(f"{label}: {', '.join(texts)}" for label, texts in idle.items())
        notes.append(f"Taken out, as measured while no request was under way: {parts}.")
    if unknown:
        notes.append(
            f"What the part uses when nobody asks anything is in the numbers of"
            f" {', '.join(sorted(unknown))}: the run has no three seconds without a request."
        )
    if cost.shared:
        names = ", ".join(LABELS[key] for key in cost.shared)
        notes.append(
            f"{names}: for all arms together, which share the part and whose requests overlap at"
            " the blocks' ends."
        )
    return tuple(notes)
