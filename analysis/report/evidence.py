"""Why may the numbers be believed? The run over time, the cross-checks, the generator."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from analysis.calltree import sampling
from analysis.checks.counts.cross_checks import agrees
from analysis.checks.schedule_delay import schedule_delay_ms
from analysis.document import formatting
from analysis.document.document import Drawing, Section, Tone
from analysis.document.setting import Setting
from analysis.document.tables import COUNTED, OBSERVED, SET, Field, exact, tabulate, words
from analysis.questions.timeline import figure as timeline_figure
from analysis.questions.timeline.answer import bin_width_ns, timeline
from analysis.rundir.manifest import CrossCheck, Generator, Manifest
from analysis.rundir.run import Run

_ABOUT_OWN_PART = (
    " The load's own p99 is what a request took against a server that answers at once, measured"
    " before the run at its highest rate: so much of a response time may be the load's."
)
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
    spans = run.projected_spans
    spans = sampling.weigh(spans, sampling.by_trace(spans))
    table = timeline(run.requests, spans, run.counters, started_ns=started, bin_ns=width)
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
        f" {len(events)} events are marked."
        if len(events)
        else " No fault, flush or death of a part happened."
        if manifest.scenario
        else ""
    )
    warmup = (
        "Warm-up is the pale part of the strip and is counted nowhere. "
        if blocks["warmup"].any()
        else ""
    )
    lasted = formatting.plain((ended - started) / 1e9, "s")
    return Section(
        key="timeline",
        question=question,
        answer=f"The run took {lasted}.{marked}",
        reading=(
            f"Each point is {'one second' if seconds == 1 else f'{seconds} seconds'}, in the "
            "colour of its arm. "
            f"{warmup}A point is a record, not an estimate, so it has no interval."
        ),
        sample=(
            f"{formatting.count(len(run.requests))} requests, "
            f"{formatting.count(len(run.projected_spans))} spans, all that were recorded."
        ),
        drawings=(Drawing(name="timeline", alt=_timeline_alt(table), draw=draw),),
        notes=(
            *((manifest.placed.sentence(),) if manifest.placed is not None else ()),
            *_not_recorded(table, setting),
        ),
    )


def cross_check_section(cross_checks: Sequence[CrossCheck]) -> Section:
    """Counts from spans beside the same counts by the servers themselves."""
    question = "Do independent counts agree?"
    if not cross_checks:
        return Section(
            key="cross_checks",
            question=question,
            answer="No independent count: the counts from spans stand alone.",
        )
    fields: tuple[Field[CrossCheck], ...] = (
        words("What", lambda row: row.what),
        words("Arm", lambda row: row.arm, missing=""),
        exact("From spans", lambda row: row.from_spans, why=COUNTED, sample=True),
        exact("Independent count", lambda row: row.independent, why=COUNTED, sample=True),
        words("Agree?", lambda row: _agreement(row)[0]),
        words("Counted by", lambda row: row.counted_by, code=True),
    )
    tones = [_agreement(row)[1] for row in cross_checks]
    return Section(
        key="cross_checks",
        question=question,
        answer=(
            f"{tones.count(Tone.GOOD)} of {len(tones)} counts from spans equal what the servers"
            " counted themselves."
        ),
        reading=(
            "The left number is counted from the recorded spans, the right one by the server or"
            " tool named, which knows nothing of spans."
        ),
        sample="Whole counts over the run; a count has no interval.",
        tables=(tabulate(cross_checks, fields, "Counted twice", tones),),
    )


def _agreement(row: CrossCheck) -> tuple[str, Tone]:
    """Yes, or by how much not; a missing count is no agreement."""
    if row.from_spans is None or row.independent is None:
        return "no independent count", Tone.DOUBT
    difference = row.from_spans - row.independent
    if difference == 0:
        return "exactly", Tone.GOOD
    text = f"{'+' if difference > 0 else ''}{formatting.plain(difference)}"
    if agrees(row) or not row.exact:
        return f"differs by {text}", Tone.PLAIN
    return f"off by {text}", Tone.BAD


def with_lag(generator: Sequence[Generator], run: Run) -> tuple[Generator, ...]:
    """The generator's own account; of a recording its delays are those that the verdict names.

    Several Locusts of one script each have their own percentiles, of which no whole can be made.
    """
    requests = run.measured_requests
    if run.manifest.scenario or requests.empty:
        return tuple(generator)
    lag_ms = schedule_delay_ms(requests).clip(lower=0)
    by_step = lag_ms.groupby(requests["step"].fillna(0).astype("int64"))
    return tuple(
        replace(
            row,
            lag_p50_ms=float(by_step.get_group(row.step).quantile(0.5)),
            lag_p99_ms=float(by_step.get_group(row.step).quantile(0.99)),
            lag_max_ms=float(by_step.get_group(row.step).max()),
        )
        if row.step in by_step.groups
        else row
        for row in generator
    )


def waits_for_answers(run: Run) -> bool:
    """Whether no schedule was recorded: somebody's own users send when they are free."""
    requests = run.measured_requests
    return not requests.empty and bool((requests["intended_ns"] == requests["sent_ns"]).all())


def generator_section(generator: Sequence[Generator], *, is_closed: bool = False) -> Section:
    """Whether the load kept its schedule, step by step; ``is_closed``: it had none."""
    question = "Did the load keep its schedule?"
    if generator and is_closed:
        sent = formatting.count(sum(step.arrivals_sent for step in generator))
        return Section(
            key="generator",
            question=question,
            answer=(
                f"No schedule was recorded: of {sent} requests each was wanted when it was sent."
                " Where users wait for answers, the load slows down with the service, and a stall"
                " stays hidden."
            ),
        )
    if not generator:
        return Section(
            key="generator",
            question=question,
            answer=(
                "The load was not recorded, so nothing is known about how well it kept its"
                " schedule."
            ),
        )
    calibrated = any(step.own_p99_ms is not None for step in generator)
    own_part: tuple[Field[Generator], ...] = (
        exact("Load's own p99", lambda step: step.own_p99_ms, "ms", why=OBSERVED),
    )
    fields: tuple[Field[Generator], ...] = (
        exact("Step", lambda step: step.step, why=SET),
        exact("Offered", lambda step: step.offered_per_s, "per_s", why=SET),
        exact("Achieved", lambda step: step.achieved_per_s, "per_s", why=COUNTED),
        exact("Planned", lambda step: step.arrivals_planned, why=COUNTED),
        exact("Sent", lambda step: step.arrivals_sent, why=COUNTED),
        exact("Dropped", lambda step: step.dropped, why=COUNTED),
        exact("Schedule delay p50", lambda step: step.lag_p50_ms, "ms", why=OBSERVED),
        exact("Schedule delay p99", lambda step: step.lag_p99_ms, "ms", why=OBSERVED),
        exact("Schedule delay max", lambda step: step.lag_max_ms, "ms", why=OBSERVED),
        *own_part[:calibrated],
        exact("In flight, max", lambda step: step.in_flight_max, why=OBSERVED),
    )
    dropped = sum(step.dropped for step in generator)
    planned = sum(step.arrivals_planned for step in generator)
    delays = [step.lag_p99_ms for step in generator if step.lag_p99_ms is not None]
    late = (
        f" The 99th percentile of the schedule delay was at most"
        f" {formatting.plain(max(delays), 'ms')}."
        if delays
        else ""
    )
    lost = "none was dropped" if dropped == 0 else f"{formatting.count(dropped)} were dropped"
    return Section(
        key="generator",
        question=question,
        answer=f"Of {formatting.count(planned)} planned arrivals {lost}.{late}",
        reading=(
            "The schedule delay is how late a request was handed to the socket after the schedule"
            " wanted it sent, without the time for making a connection."
            " Arrivals do not wait for answers, so a slow service cannot hide behind a slow load."
            + _ABOUT_OWN_PART
            * calibrated
        ),
        sample="Whole counts and the generator's own clock; no interval.",
        tables=(tabulate(generator, fields, "The generator, by step"),),
    )


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
    for series, (called, factor) in names.items():
        values = table.loc[table["series"] == series, "value"].dropna() * factor
        if not values.empty:
            parts.append(
                f"{called} from {formatting.plain(values.min())} to "
                f"{formatting.plain(values.max())}"
            )
    return "The run over time: " + "; ".join(parts) + "."


def _not_recorded(table: pd.DataFrame, setting: Setting) -> tuple[str, ...]:
    """Which panels are absent because nothing was recorded for them."""
    names = {
        "rate": "arrivals",
        "queries": "database queries",
        **({"hit_rate": "cache hits"} if setting.cached_operation else {}),
        "busy": "connections in use",
        "cpu": "processor",
    }
    absent = [called for series, called in names.items() if not (table["series"] == series).any()]
    return (f"Not recorded in this run: {', '.join(absent)}.",) if absent else ()
