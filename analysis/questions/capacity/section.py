"""Where does more load stop helping, and what is expected beyond?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from matplotlib.figure import Figure

from analysis.document import estimates as written
from analysis.document import formatting
from analysis.document.document import Drawing, Section, Table
from analysis.document.setting import Setting
from analysis.document.tables import (
    COUNTED,
    FITTED,
    SET,
    Field,
    estimates,
    exact,
    sample_sizes,
    tabulate,
    words,
)
from analysis.questions.capacity import figure as capacity_figure
from analysis.questions.capacity.answer import (
    Capacity,
    ExpectationRow,
    KneeRow,
    ScalabilityRow,
    StepRow,
)
from analysis.questions.capacity.figure import point_of
from analysis.questions.database_load.answer import DatabaseLoad, LoadRow
from analysis.questions.findings import Findings

QUESTION = "Where does more load stop helping, and what is expected beyond?"

_ERLANG = "Erlang's formula at the row's busy connections"

_NO_ARM = "all requests"
"""What stands in the figure for the arm of a run that names none."""


class _OfCollection(Protocol):
    @property
    def collection(self) -> str | None: ...


Row = TypeVar("Row", bound=_OfCollection)


def section(findings: Findings, setting: Setting) -> Section | None:
    """The knee, and queries per second and connections at a rate that was not measured."""
    capacity = findings.of(Capacity)
    if not capacity.steps:
        return None
    expected = _of_cached(capacity.expectation, setting)
    load = _of_cached(findings.of(DatabaseLoad).by_step, setting)
    return Section(
        key="capacity",
        question=QUESTION,
        answer=_answer(capacity.knees, expected, setting),
        reading=(
            "Left, the response time that 95 of 100 requests stay below. Right, queries per"
            " second; full lines were measured, dashed ones are carried on in proportion and are"
            " an expectation, not a measurement."
        ),
        emulated=setting.emulated(
            "The response times are mostly those of the profile; the rates are real."
        ),
        sample=_sample(capacity.steps),
        drawings=(_drawing(capacity.steps, load, expected, setting),),
        tables=_tables(capacity),
        notes=_notes(capacity, setting),
    )


def _of_cached(rows: Iterable[Row], setting: Setting) -> list[Row]:
    """The rows of the cached collection, or of all queries when nothing is cached."""
    return [row for row in rows if row.collection == setting.cached_collection]


def _answer(knees: Iterable[KneeRow], expected: list[ExpectationRow], setting: Setting) -> str:
    """The knee of each arm, and the expected load at the highest asked rate."""
    said: dict[str, list[str]] = {}
    for knee in knees:
        said.setdefault(knee.sentence, []).append(setting.label(knee.arm))
    parts = [
        sentence
        if len(said) == 1
        else f"{' and '.join(arms)}: {sentence[0].lower()}{sentence[1:]}"
        for sentence, arms in said.items()
    ]
    what = f"queries of {setting.cached_collection}" if setting.cached_collection else "queries"
    parts += [
        f"{_at(row)}, {setting.label(row.arm)}:"
        f" {written.said(row.queries_per_s)} {what} expected{_busy(row)}."
        for row in expected
        if row.arm in {*setting.shown, None} and row.queries_per_s.is_known
    ]
    return " ".join(parts) or "Only one rate was run, so nothing is known beyond it."


def _busy(row: ExpectationRow) -> str:
    """Connections busy with them, or why that is not told."""
    busy = row.busy_connections
    if busy.is_known:
        return f", {written.said(busy)} connections busy with them"
    return f"; busy connections cannot be told: {busy.reason}"


def _at(row: ExpectationRow) -> str:
    """The rate that is expected about, and from which one it is carried on in proportion."""
    rate = f"At {formatting.plain(row.rate_per_s, 'per_s')}"
    if row.rate_per_s <= row.measured_to_per_s:
        return rate
    return f"{rate}, in proportion to {formatting.plain(row.measured_to_per_s, 'per_s')}"


def _sample(steps: tuple[StepRow, ...]) -> str:
    return (
        f"At least {formatting.count(min(row.p95_ms.n for row in steps))} requests per arm and"
        f" rate, {formatting.count(steps[0].p95_ms.blocks)} blocks each."
    )


def _drawing(
    steps: tuple[StepRow, ...],
    load: list[LoadRow],
    expected: list[ExpectationRow],
    setting: Setting,
) -> Drawing:
    """Percentiles by rate, queries by rate measured and expected, of the arms that are shown."""
    place = {arm: at for at, arm in enumerate((*setting.shown, None))}
    latency = [
        point_of(row.arm or _NO_ARM, row.offered_per_s, row.p95_ms)
        for row in sorted(
            (row for row in steps if row.arm in place and row.p95_ms.is_known),
            key=lambda row: (place[row.arm], row.offered_per_s),
        )
    ]
    found = [(row.arm, row.offered_per_s, row.per_s, True) for row in load]
    found += [(row.arm, row.rate_per_s, row.queries_per_s, False) for row in expected]
    shown = [one for one in found if one[0] in place]
    queries = [
        point_of(arm or _NO_ARM, rate, per_s, measured=measured)
        for arm, rate, per_s, measured in sorted(shown, key=lambda one: (place[one[0]], one[1]))
        if (per_s.value or 0.0) > 0  # no place on a logarithmic axis for none
    ]

    def draw(*, narrow: bool) -> Figure:
        return capacity_figure.figure(latency, queries, narrow=narrow)

    said = "; ".join(
        f"{one.arm} at {formatting.plain(one.rate_per_s, 'per_s')}:"
        f" {formatting.estimate(one.value, one.low, one.high, 'ms')}"
        for one in latency
    )
    return Drawing(
        name="capacity", alt=f"95th percentile of the response time by rate. {said}.", draw=draw
    )


def _tables(capacity: Capacity) -> tuple[Table, ...]:
    """The steps, the expectation, the scalability law."""
    step_fields: tuple[Field[StepRow], ...] = (
        exact("Offered", lambda row: row.offered_per_s, "per_s", why=SET),
        words("Arm", lambda row: row.arm),
        exact("Answered", lambda row: row.achieved_per_s, "per_s", why=COUNTED),
        estimates("p95", lambda row: row.p95_ms),
        exact("In flight", lambda row: row.in_flight, why=COUNTED),
        sample_sizes(lambda row: row.p95_ms),
    )
    expected_fields: tuple[Field[ExpectationRow], ...] = (
        exact("At", lambda row: row.rate_per_s, "per_s", why=SET),
        words("Arm", lambda row: row.arm),
        words("Table", lambda row: row.collection, missing="all"),
        estimates("Queries per second", lambda row: row.queries_per_s),
        estimates("Busy connections", lambda row: row.busy_connections),
        exact("Connections needed", lambda row: row.connections_needed, why=_ERLANG),
        sample_sizes(lambda row: row.queries_per_s, "Requests"),
    )
    law_fields: tuple[Field[ScalabilityRow], ...] = (
        words("Arm", lambda row: row.arm),
        exact("Contention", lambda row: row.alpha, why=FITTED),
        exact("Coherency", lambda row: row.beta, why=FITTED),
        estimates("Peak in flight", lambda row: row.peak_in_flight),
        words("What it says", lambda row: row.sentence),
    )
    made = (
        tabulate(capacity.steps, step_fields, "By offered rate"),
        tabulate(
            capacity.expectation,
            expected_fields,
            "Expected, in proportion to requests; connections as M/M/c with at most 1 % waiting",
        ),
        tabulate(
            [row for row in capacity.scalability if row.alpha is not None],
            law_fields,
            "Universal Scalability Law (a fit; only its peak has an interval)",
        ),
    )
    return tuple(table for table in made if table.rows)


def _notes(capacity: Capacity, setting: Setting) -> tuple[str, ...]:
    """How the extrapolation fared when the highest step was hidden from it."""
    tested = tuple(
        f"{setting.label(row.arm)}: {row.sentence}"
        for row in _of_cached(capacity.extrapolation, setting)
    )
    too_few = dict.fromkeys(row.sentence for row in capacity.scalability if row.alpha is None)
    return (*tested, *too_few)
