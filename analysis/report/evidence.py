"""Why may the numbers be believed? The run over time, the cross-checks, the generator."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.checks.cross_checks import agrees
from analysis.document import formatting
from analysis.document.document import Column, Drawing, Section, Table, Tone
from analysis.document.setting import Setting
from analysis.document.tabulation import COUNTED, plain_numbers, tabulate
from analysis.questions.timeline import figure as timeline_figure
from analysis.questions.timeline.answer import bin_width_ns, timeline
from analysis.rundir.manifest import Manifest
from analysis.rundir.run import Run

_SHOWN_EVENTS = {
    "fault_start": "fault",
    "fault_end": "repaired",
    "cache_flush": "cache flushed",
    "part_died": "part died",
}
"""Events that explain a jump; the planned beginnings and ends of blocks are the coloured strip."""


def timeline_section(run: Run, setting: Setting) -> Section:
    """What happened when, as a figure; says so when the run recorded nothing."""
    manifest = run.manifest
    started, ended = _span_of_time(run)
    width = bin_width_ns(started, ended)
    table = timeline(
        run.requests, run.projected_spans, run.counters, started_ns=started, bin_ns=width
    )
    question = "What happened when?"
    if table.empty:
        return Section(
            key="timeline",
            question=question,
            answer="Nothing was recorded, so there is nothing to draw.",
        )
    blocks = _block_table(manifest, started)
    events = _event_table(run.events, started)

    def draw(*, narrow: bool) -> Figure:
        return timeline_figure.figure(table, blocks, events, setting.arms, narrow=narrow)

    seconds = width // 1_000_000_000
    marked = (
        f"{len(events)} events are marked."
        if len(events)
        else "No fault, flush or death of a part happened."
    )
    lasted = formatting.plain((ended - started) / 1e9, "s")
    return Section(
        key="timeline",
        question=question,
        answer=f"The run took {lasted}. {marked}",
        reading=(
            f"Each point is {'one second' if seconds == 1 else f'{seconds} seconds'}, in the "
            "colour of the arm that was on; "
            "warm-up is the pale part of the strip and is counted nowhere. A point is a record, "
            "not an estimate, so it has no interval."
        ),
        sample=(
            f"{formatting.count(len(run.requests))} requests, "
            f"{formatting.count(len(run.projected_spans))} spans, warm-up included."
        ),
        drawings=(Drawing(name="timeline", alt=_timeline_alt(table), draw=draw),),
        notes=_not_recorded(table),
    )


def cross_check_section(cross_checks: Sequence[Mapping[str, Any]]) -> Section:
    """Counts from spans beside the same counts by the servers themselves."""
    question = "Do independent counts agree?"
    if not cross_checks:
        return Section(
            key="cross_checks",
            question=question,
            answer=(
                "No independent count was taken in this run, so the counts from spans stand alone."
            ),
        )
    rows, tones = [], []
    for cross_check in cross_checks:
        counted, independent = cross_check.get("from_spans"), cross_check.get("independent")
        verdict, tone = _agreement(cross_check)
        rows.append(
            (
                str(cross_check.get("what", "")),
                str(cross_check.get("arm") or ""),
                formatting.count(counted),
                formatting.count(independent),
                verdict,
                str(cross_check.get("counted_by", "")),
            )
        )
        tones.append(tone)
    agree = sum(tone is Tone.GOOD for tone in tones)
    columns = (
        Column(label="What"),
        Column(label="Arm"),
        Column(label="From spans", numeric=True, without=COUNTED, sample=True),
        Column(label="By the cross_check", numeric=True, without=COUNTED, sample=True),
        Column(label="Agree?"),
        Column(label="CrossCheck", code=True),
    )
    return Section(
        key="cross_checks",
        question=question,
        answer=(
            f"{agree} of {len(rows)} counts from spans equal what the servers counted themselves."
        ),
        reading=(
            "The left number is counted from the recorded spans, the right one by the "
            "server or tool named, which knows nothing of spans."
        ),
        sample="Whole counts over the run, warm-up included; a count has no interval.",
        tables=(
            Table(caption="Counted twice", columns=columns, rows=tuple(rows), tones=tuple(tones)),
        ),
    )


def generator_section(generator: Sequence[Mapping[str, Any]]) -> Section:
    """Whether the load kept its schedule, step by step."""
    question = "Did the load keep its schedule?"
    if not generator:
        return Section(
            key="generator",
            question=question,
            answer=(
                "The load was not ours, so nothing is known about how well it kept its schedule."
            ),
        )
    fields = (
        plain_numbers("Step", "step"),
        plain_numbers("Offered", "offered_per_s", "per_s"),
        plain_numbers("Achieved", "achieved_per_s", "per_s"),
        plain_numbers("Planned", "arrivals_planned"),
        plain_numbers("Sent", "arrivals_sent"),
        plain_numbers("Dropped", "dropped"),
        plain_numbers("Lag p50", "lag_p50_ms", "ms"),
        plain_numbers("Lag p99", "lag_p99_ms", "ms"),
        plain_numbers("Lag max", "lag_max_ms", "ms"),
        plain_numbers("In flight, max", "in_flight_max"),
    )
    dropped = sum(int(step.get("dropped") or 0) for step in generator)
    planned = sum(int(step.get("arrivals_planned") or 0) for step in generator)
    lags = [float(step["lag_p99_ms"]) for step in generator if step.get("lag_p99_ms") is not None]
    late = (
        f" The 99th percentile of lateness was at most {formatting.plain(max(lags), 'ms')}."
        if lags
        else ""
    )
    lost = "none was dropped" if dropped == 0 else f"{formatting.count(dropped)} were dropped"
    return Section(
        key="generator",
        question=question,
        answer=f"Of {formatting.count(planned)} planned arrivals {lost}.{late}",
        reading=(
            "Lag is how late a request was sent after the schedule wanted it. Arrivals do "
            "not wait for answers, so a slow service cannot hide behind a slow load."
        ),
        sample="Whole counts and the generator's own clock; no interval.",
        tables=(tabulate(generator, fields, "The generator, by step"),),
    )


def _agreement(cross_check: Mapping[str, Any]) -> tuple[str, Tone]:
    """Yes, or by how much not; a missing count is no agreement."""
    counted, independent = cross_check.get("from_spans"), cross_check.get("independent")
    if formatting.is_missing(counted) or formatting.is_missing(independent):
        return "not counted", Tone.DOUBT
    difference = float(counted or 0.0) - float(independent or 0.0)
    if difference == 0:
        return "exactly", Tone.GOOD
    text = f"{'+' if difference > 0 else ''}{formatting.plain(difference)}"
    excused = agrees(cross_check) or not cross_check.get("exact", True)
    return (f"within {text}", Tone.PLAIN) if excused else (f"off by {text}", Tone.BAD)


def _span_of_time(run: Run) -> tuple[int, int]:
    """Start and end of the run in ns: the manifest's, or those of what was recorded."""
    manifest = run.manifest
    if manifest.ended_ns > manifest.started_ns > 0:
        return manifest.started_ns, manifest.ended_ns
    if run.projected_spans.empty:
        return 0, 1
    starts = run.projected_spans["start_ns"]
    return int(starts.min()), int(starts.max()) + 1


def _block_table(manifest: Manifest, started_ns: int) -> pd.DataFrame:
    """The blocks in seconds from the start."""
    rows = [
        (
            block.arm,
            (block.start_ns - started_ns) / 1e9,
            (block.end_ns - started_ns) / 1e9,
            block.warmup,
        )
        for block in manifest.blocks
    ]
    return pd.DataFrame(rows, columns=["arm", "start_s", "end_s", "warmup"])


def _event_table(events: pd.DataFrame, started_ns: int) -> pd.DataFrame:
    """The events worth a mark, with what to call them."""
    shown = events[events["kind"].isin(list(_SHOWN_EVENTS))]
    return pd.DataFrame(
        {
            "t_s": (shown["t_ns"] - started_ns) / 1e9,
            "label": [
                _event_label(kind, detail)
                for kind, detail in zip(shown["kind"], shown["detail"], strict=True)
            ],
        }
    )


def _event_label(kind: str, detail: str) -> str:
    """The event in a word or two: its kind, and the part that it happened to."""
    try:
        content = json.loads(detail)
    except (TypeError, ValueError):
        content = {}
    part = content.get("part") or content.get("fault") if isinstance(content, dict) else None
    return f"{part}: {_SHOWN_EVENTS[kind]}" if part else _SHOWN_EVENTS[kind]


def _timeline_alt(table: pd.DataFrame) -> str:
    """The panels in words: each series' range."""
    names = {
        "rate": ("requests per second", 1.0),
        "median": ("median response time in ms", 1.0),
        "queries": ("database queries per second", 1.0),
        "hit_rate": ("cache hit rate in percent", 100.0),
        "busy": ("connections busy with a query", 1.0),
        "pool": ("connections in use", 1.0),
        "cpu": ("processor in percent", 1.0),
    }
    parts = []
    for series, (words, factor) in names.items():
        values = table.loc[table["series"] == series, "value"].dropna() * factor
        if not values.empty:
            parts.append(
                f"{words} from {formatting.plain(values.min())} to "
                f"{formatting.plain(values.max())}"
            )
    return "The run over time: " + "; ".join(parts) + "."


def _not_recorded(table: pd.DataFrame) -> tuple[str, ...]:
    """Which panels are absent because nothing was recorded for them."""
    names = {
        "rate": "arrivals",
        "queries": "database queries",
        "hit_rate": "cache hits",
        "busy": "connections in use",
        "cpu": "processor",
    }
    absent = [words for series, words in names.items() if not (table["series"] == series).any()]
    return (f"Not recorded in this run: {', '.join(absent)}.",) if absent else ()
