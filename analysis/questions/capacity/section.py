"""Where does more load stop helping, and what is expected beyond?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.document import formatting
from analysis.document.document import Drawing, Section, Table
from analysis.document.numbers import number_in
from analysis.document.setting import Setting
from analysis.document.tabulation import (
    Record,
    estimates,
    plain_numbers,
    sample_sizes,
    tabulate,
    words,
)
from analysis.questions.capacity import figure as capacity_figure

_NOT_TRIED = (
    "This tries the queries a second. Busy connections also assume that a query holds its"
    " connection as long as it did at the highest rate that was measured; that is not tried."
)

QUESTION = "Where does more load stop helping, and what is expected beyond?"


def section(findings: Mapping[str, Any], setting: Setting) -> Section | None:
    """The knee, and queries per second and connections at a rate that was not measured."""
    capacity = findings.get("capacity") or {}
    steps = list(capacity.get("steps") or ())
    if not steps:
        return None
    expected = _cached(capacity.get("expectation"), setting)
    load = _cached((findings.get("load") or {}).get("by_step"), setting)
    return Section(
        key="capacity",
        question=QUESTION,
        answer=_answer(list(capacity.get("knees") or ()), expected, setting),
        reading=(
            "Left, the response time that 95 of 100 requests stay below. Right, queries per "
            "second;"
            " full lines were measured, dashed ones are carried on in proportion and are an"
            " expectation, not a measurement."
        ),
        emulated=setting.emulated(
            "The response times are mostly those of the profile; the rates are real."
        ),
        sample=_sample(steps),
        drawings=(_drawing(steps, load, expected, setting),),
        tables=_tables(capacity, steps),
        notes=_notes(capacity, setting),
    )


def _cached(records: Any, setting: Setting) -> list[Record]:  # noqa: ANN401 - findings are JSON
    """The rows of the cached collection, or of all queries when nothing is cached."""
    return [row for row in records or () if row.get("collection") == setting.cached_collection]


def _shown(rows: list[Record], setting: Setting) -> list[Record]:
    """The rows of the arms that figures put side by side."""
    return [row for row in rows if row.get("arm") in {*setting.shown, None}]


def _answer(knees: list[Record], expected: list[Record], setting: Setting) -> str:
    """The knee of each arm, and the expected load at the highest asked rate."""
    said: dict[str, list[str]] = {}
    for row in knees:
        said.setdefault(str(row.get("sentence") or ""), []).append(setting.label(row.get("arm")))
    parts = [
        f"{' and '.join(arms)}: {sentence[0].lower()}{sentence[1:]}"
        for sentence, arms in said.items()
        if sentence
    ]
    for row in _shown(expected, setting):
        queries, busy = number_in(row, "queries_per_s"), number_in(row, "busy_connections")
        if queries.is_known:
            rate = formatting.plain(row.get("rate_per_s"), "per_s")
            what = (
                f"queries of {setting.cached_collection}"
                if setting.cached_collection
                else "queries"
            )
            parts.append(
                f"At {rate}, {setting.label(row.get('arm'))}: {queries.text} {what} expected,"
                f" {busy.text} connections busy with them."
            )
    return " ".join(parts) or "One rate only was run, so nothing is known beyond it."


def _sample(steps: list[Record]) -> str:
    first = number_in(steps[0], "p95_ms")
    return (
        f"At least {formatting.count(min(number_in(row, 'p95_ms').n for row in steps))} requests "
        "an arm"
        f" and rate, {formatting.count(first.blocks)} blocks each; 95 % intervals between blocks."
    )


def _drawing(
    steps: list[Record], load: list[Record], expected: list[Record], setting: Setting
) -> Drawing:
    """Percentiles by rate, queries by rate measured and expected."""
    steps, load, expected = (_shown(rows, setting) for rows in (steps, load, expected))
    latency = pd.DataFrame([_latency_row(row) for row in steps]).dropna(subset=["value"])
    rows = [_load_row(row, "offered_per_s", "per_s", measured=True) for row in load]
    rows += [_load_row(row, "rate_per_s", "queries_per_s", measured=False) for row in expected]
    columns = ["arm", "rate_per_s", "queries_per_s", "low", "high", "measured"]
    queries = pd.DataFrame(rows, columns=columns).dropna(subset=["queries_per_s"])
    queries = queries[queries["queries_per_s"] > 0]  # a logarithmic axis has no place for none
    order = {arm: place for place, arm in enumerate(setting.arms)}
    latency, queries = (
        table.assign(place=table["arm"].map(order)).sort_values(
            ["place", "rate_per_s"], kind="stable"
        )
        for table in (latency, queries)
    )

    def draw(*, narrow: bool) -> Figure:
        return capacity_figure.figure(latency, queries, narrow=narrow)

    said = "; ".join(
        f"{row['arm']} at {row['rate_per_s']:g}/s: "
        f"{formatting.estimate(row['value'], row['low'], row['high'], 'ms')}"
        for _, row in latency.iterrows()
    )
    return Drawing(
        name="capacity", alt=f"95th percentile of the response time by rate. {said}.", draw=draw
    )


def _latency_row(row: Record) -> dict[str, Any]:
    p95 = number_in(row, "p95_ms")
    return {
        "arm": row.get("arm") or "all requests",
        "rate_per_s": row.get("offered_per_s"),
        "value": p95.value,
        "low": p95.low,
        "high": p95.high,
        "quantile": "p95",
    }


def _load_row(row: Record, rate: str, queries: str, *, measured: bool) -> tuple[Any, ...]:
    found = number_in(row, queries)
    return (
        row.get("arm") or "all requests",
        row.get(rate),
        found.value,
        found.low,
        found.high,
        measured,
    )


def _tables(capacity: Mapping[str, Any], steps: list[Record]) -> tuple[Table, ...]:
    """The steps, the expectation, the scalability law."""
    step_fields = (
        plain_numbers("Offered", "offered_per_s", "per_s"),
        words("Arm", "arm"),
        plain_numbers("Answered", "achieved_per_s", "per_s"),
        estimates("p95", "p95_ms"),
        plain_numbers("In flight", "in_flight"),
        sample_sizes("p95_ms"),
    )
    expected_fields = (
        plain_numbers("At", "rate_per_s", "per_s"),
        words("Arm", "arm"),
        words("Table", "collection", missing="all"),
        estimates("Queries a second", "queries_per_s"),
        estimates("Busy connections", "busy_connections"),
        plain_numbers("Connections needed", "connections_needed"),
        sample_sizes("queries_per_s", "Requests"),
    )
    law_fields = (
        words("Arm", "arm"),
        plain_numbers("Contention", "alpha"),
        plain_numbers("Coherency", "beta"),
        plain_numbers("Peak in flight", "peak_in_flight"),
        words("What it says", "sentence"),
    )
    wanted = (
        (steps, step_fields, "By offered rate"),
        (
            capacity.get("expectation"),
            expected_fields,
            "Expected, in proportion to requests; connections as M/M/c with at most 1 % waiting",
        ),
        (
            capacity.get("scalability"),
            law_fields,
            "Universal Scalability Law (a fit, no interval)",
        ),
    )
    return tuple(tabulate(rows, fields, caption) for rows, fields, caption in wanted if rows)


def _notes(capacity: Mapping[str, Any], setting: Setting) -> tuple[str, ...]:
    """How the extrapolation fared when the highest step was hidden from it."""
    rows = _cached(capacity.get("extrapolation"), setting)
    tried = tuple(
        f"{setting.label(row.get('arm'))}: {row['sentence']}"
        for row in rows
        if row.get("sentence")
    )
    return (*tried, _NOT_TRIED) if tried else ()
