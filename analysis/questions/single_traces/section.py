"""Which single requests are worth looking at.

The typical, the slowest, a cache hit and a cache miss.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from matplotlib.figure import Figure

from analysis.checks.counts.cross_checks import roots
from analysis.critical_path import sections
from analysis.document import formatting
from analysis.document.document import Drawing, TraceView
from analysis.document.setting import Setting
from analysis.questions.single_traces import figure as waterfall_figure
from analysis.questions.single_traces.waterfall import choose, waterfall
from analysis.rundir import column_projection
from analysis.rundir.run import Run

SAMPLED_TRACES = 20_000
"""The typical trace is looked for among so many, evenly over the run.

Enough for a medoid, and a run of
ten million spans is not walked a third time."""


_OF_ROOTS = ("trace_id", "span_id", "parent_span_id", "kind", "arm", "duration_ns")
_OF_LOOKUPS = ("trace_id", "arm", "duration_ns", "cache_hit")
"""The columns that choosing needs: in a run of ten million spans the others cost seconds."""


def trace_views(run: Run, setting: Setting, jaeger_url: str | None) -> tuple[TraceView, ...]:
    """Lay out each of them, with its address in Jaeger when one is configured."""
    spans = run.projected_measured_spans
    if spans.empty:
        return ()
    chosen = list(_chosen(spans, setting))
    shown = spans[spans["trace_id"].isin([trace_id for _, trace_id in chosen])]
    shown = shown.astype(dict.fromkeys(column_projection.WORDS, "str"))
    return tuple(_view(shown, label, trace_id, setting, jaeger_url) for label, trace_id in chosen)


def _chosen(spans: pd.DataFrame, setting: Setting) -> Iterator[tuple[str, str]]:
    """Label and id of each; a trace is shown once, under the first label that fits."""
    tops = roots(spans[list(_OF_ROOTS)])
    own = tops if setting.treatment is None else tops[tops["arm"] == setting.treatment]
    own = own if not own.empty else tops
    seen: set[str] = set()
    where = f", {setting.label(setting.treatment)}" if setting.treatment else ""
    if not own.empty:
        step = -(-len(own) // SAMPLED_TRACES)
        sampled = spans[spans["trace_id"].isin(own["trace_id"].iloc[::step])]
        yield from _once(f"A typical request{where}", choose(sampled, "typical"), seen)
        slowest = int(tops["duration_ns"].astype("float64").fillna(-1).to_numpy().argmax())
        label = "The slowest request of the run"
        yield from _once(label, str(tops["trace_id"].iloc[slowest]), seen)
    is_lookup = (spans["name"] == setting.cached_operation) & spans["cache_hit"].notna()
    lookups = spans.loc[is_lookup, list(_OF_LOOKUPS)]
    if setting.treatment is not None:  # without the cache nothing is ever missed
        lookups = lookups[lookups["arm"] == setting.treatment]
    for label, kind in (("A cache hit", True), ("A cache miss", False)):
        found = lookups[lookups["cache_hit"].astype("bool") == kind]
        if not found.empty:
            middle = found["duration_ns"].astype("float64").sort_values().index[len(found) // 2]
            yield from _once(f"{label}, the median one", str(found.loc[middle, "trace_id"]), seen)


def _once(label: str, trace_id: str, seen: set[str]) -> Iterator[tuple[str, str]]:
    if trace_id not in seen:
        seen.add(trace_id)
        yield label, trace_id


def _view(
    spans: pd.DataFrame, label: str, trace_id: str, setting: Setting, jaeger_url: str | None
) -> TraceView:
    """One waterfall."""
    rows = spans[spans["trace_id"] == trace_id]
    table = waterfall(rows, trace_id)
    path = sections(rows)
    begin = int(rows["start_ns"].min())
    pieces = pd.DataFrame(
        {
            "span_id": path["span_id"],
            "start_ms": (path["start_ns"] - begin) / 1e6,
            "end_ms": (path["end_ns"] - begin) / 1e6,
        }
    )
    total = float(table["duration_ms"].max())
    shown = table
    if len(table) > waterfall_figure.MAX_ROWS:
        shown = table.loc[
            table["duration_ms"].nlargest(waterfall_figure.MAX_ROWS).index.sort_values()
        ]

    def draw(*, narrow: bool) -> Figure:
        return waterfall_figure.figure(
            shown, pieces, strong=setting.cached_operation, narrow=narrow
        )

    arm = rows["arm"].dropna()
    parts = [
        setting.label(str(arm.iloc[0])) if len(arm) else "",
        formatting.plain(total, "ms"),
        f"{len(table)} spans"
        if len(shown) == len(table)
        else f"the longest {len(shown)} of {len(table)} spans",
    ]
    said = "; ".join(
        f"{name} {formatting.plain(duration, 'ms')}"
        for name, duration in zip(shown["name"], shown["duration_ms"], strict=True)
    )
    return TraceView(
        label=label,
        trace_id=trace_id,
        link=f"{jaeger_url.rstrip('/')}/trace/{trace_id}" if jaeger_url else None,
        summary=", ".join(part for part in parts if part),
        drawing=Drawing(name=f"trace-{trace_id[-8:]}", alt=f"{label}: {said}.", draw=draw),
    )
