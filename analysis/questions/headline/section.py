"""The headline figure's panels and words, from the findings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from matplotlib.figure import Figure

from analysis.document import estimates, formatting
from analysis.document.document import Drawing
from analysis.document.setting import Setting
from analysis.drawing import style
from analysis.questions.database_load.answer import DatabaseLoad, LoadRow, PredictedRow
from analysis.questions.emulated import Emulated
from analysis.questions.findings import Findings
from analysis.questions.headline import figure as headline_figure
from analysis.questions.headline.figure import Shown
from analysis.questions.headline.load_panel import Line, Point
from analysis.questions.headline.request_panel import Bar, Segment
from analysis.questions.shares.answer import Shares, StageRow
from analysis.stats.intervals import Estimate

MAX_STAGES = 3
"""Stages shown by name besides the cached operation; the rest is one segment."""

REST = "everything else"


def drawing(findings: Findings, setting: Setting) -> Drawing | None:
    """Give the headline figure; None when the run has no stages or no rates to draw."""
    bars = _bars(findings.of(Shares), setting)
    measured = _measured(findings.of(DatabaseLoad), setting)
    if not bars or not measured:
        return None
    predicted = _predicted(findings.of(DatabaseLoad), setting)
    shown = Shown(bars=bars, measured=measured, predicted=predicted)
    words = _words(findings, shown, setting)
    bare = replace(words, note=())

    def draw(*, narrow: bool) -> Figure:
        return headline_figure.figure(shown, bare, narrow=narrow)

    def alone(*, narrow: bool) -> Figure:
        return headline_figure.figure(shown, words, narrow=narrow)

    alt = _alt(shown, words, setting)
    return Drawing(name="headline", alt=alt, draw=draw, alone=alone, caption=words.note)


def _bars(shares: Shares, setting: Setting) -> tuple[Bar, ...]:
    """Stages by arm: the cached one, the longest, and what is left over as one."""
    stages: dict[str, list[StageRow]] = {}
    for row in shares.stages:
        if row.share.is_known:
            stages.setdefault(row.arm or style.NO_ARM, []).append(row)
    arms = [arm for arm in (*setting.shown, style.NO_ARM) if arm in stages]
    longest: dict[str, float] = {}
    for row in (row for arm in arms for row in stages[arm]):
        if row.operation != setting.cached_operation:
            share = row.share.value or 0.0
            longest[row.operation] = max(share, longest.get(row.operation, 0.0))
    named = {*sorted(longest, key=longest.__getitem__, reverse=True)[:MAX_STAGES]}
    took = {row.arm or style.NO_ARM: row.mean_ms.value for row in shares.requests}
    return tuple(
        Bar(
            arm=arm,
            request_ms=took.get(arm),
            segments=_segments(stages[arm], longest, {*named, setting.cached_operation}, setting),
        )
        for arm in arms
    )


def _segments(
    stages: list[StageRow],
    longest: dict[str, float],
    named: set[str | None],
    setting: Setting,
) -> tuple[Segment, ...]:
    """An arm's named stages, the cached one first, then the longest first, then the rest.

    In one order in all arms, so that one grey is one stage; one that an arm lacks has no width.
    """
    parts = [
        Segment(
            operation=_called(row.operation, setting),
            share=row.share,
            cached=row.operation == setting.cached_operation,
        )
        for row in stages
        if row.operation in named
    ]
    missing = named - {row.operation for row in stages} - {setting.cached_operation}
    nothing = Estimate(value=0.0, unit="share", n=0, blocks=0, reason="not seen in this arm")
    parts += [
        Segment(operation=_called(name, setting), share=nothing, cached=False)
        for name in missing
        if name is not None
    ]
    by_length = {_called(name, setting): length for name, length in longest.items()}
    parts.sort(key=lambda part: (not part.cached, -by_length.get(part.operation, 0.0)))
    rest = 1.0 - sum(part.share.value or 0.0 for part in parts)
    if rest > 0:
        left_over = Estimate(value=rest, unit="share", n=0, blocks=0, reason="what is left over")
        parts.append(Segment(operation=REST, share=left_over, cached=False))
    return tuple(parts)


def _called(operation: str, setting: Setting) -> str:
    """The operation as people know it: OpenTelemetry calls a model's span ``chat {model}``.

    In somebody else's service ``chat`` may be anything.
    """
    is_model = setting.same_draws and operation.startswith("chat ")
    return f"LLM ({operation})" if is_model else operation


def _measured(load: DatabaseLoad, setting: Setting) -> tuple[Line, ...]:
    """Queries per second by rate, measured in each arm."""
    lines = []
    for arm in (*setting.shown, None):
        rows = (
            row
            for row in load.by_step
            if row.arm == arm and row.collection == setting.cached_collection
        )
        points = _points(rows)
        if points:
            lines.append(Line(arm=arm or style.NO_ARM, points=points))
    return tuple(lines)


def _predicted(load: DatabaseLoad, setting: Setting) -> Line | None:
    """Queries per second by rate that the treatment's hit rate predicts."""
    rows = (
        row
        for row in load.predicted
        if row.arm == setting.treatment and row.collection == setting.cached_collection
    )
    points = _points(rows)
    return Line(arm="predicted", points=points) if points else None


def _points(rows: Iterable[LoadRow | PredictedRow]) -> tuple[Point, ...]:
    """The known points by rate, the lowest first."""
    known = (
        Point(rate_per_s=row.offered_per_s, queries=row.per_s)
        for row in rows
        if row.per_s.is_known
    )
    return tuple(sorted(known, key=lambda point: point.rate_per_s))


def _words(findings: Findings, shown: Shown, setting: Setting) -> headline_figure.Words:
    """Titles that say what the panels show, and the note under them."""
    factor = _factor(findings, setting.cached_collection, setting)
    own = next((bar.cached for bar in shown.bars if bar.arm == setting.baseline), None)
    left = "Where one request's time goes"
    if own is not None:
        left = f"{setting.cached_operation} is {estimates.brief(own.share)} of a request"
    what = f"queries of {setting.cached_collection}" if setting.cached_collection else "queries"
    right, gap = f"{what.capitalize()} per second", ""
    if factor is not None and _is_fewer(factor):
        saved = estimates.brief(estimates.saving(factor))
        right = f"{saved} fewer {what}"
        gap = f"{saved}\nfewer"
    return headline_figure.Words(
        left=left,
        right=right,
        gap=gap,
        queries="queries per second, at the database",
        note=_note(findings, setting, factor),
    )


def _note(findings: Findings, setting: Setting, factor: Estimate | None) -> tuple[str, ...]:
    """N and intervals; what was emulated; what all queries together come to."""
    requests = [
        row.mean_ms
        for row in findings.of(Shares).requests
        if row.arm is None or row.arm in setting.shown
    ]
    counted = " and ".join(formatting.count(one.n) for one in requests)
    sizes = dict.fromkeys(one.blocks for one in requests)
    blocks = " and ".join(formatting.count(size) for size in sizes)
    has_intervals = any(one.has_interval for one in requests)
    how = " Whiskers and brackets: 95 % intervals between blocks." if has_intervals else ""
    lines = [f"{counted} requests in {blocks} blocks per arm.{how}"]
    left_out = len(setting.arms) - len(setting.shown)
    if left_out:
        lines.append(f"{left_out} more arms are in the tables, and in the figure of the law.")
    emulated = (
        row
        for row in findings.of(Emulated).rows
        if row.operation is None and row.arm == setting.baseline
    )
    for row in [*emulated][:1]:
        share = formatting.plain(row.share, "share")
        lines.append(
            f"{share} of a request's time is emulated (profile {setting.profile}); queries and"
            " hits are real."
        )
    whole = _factor(findings, None, setting)
    if setting.cached_collection and factor and whole and _is_fewer(whole) and _is_fewer(factor):
        lines.append(
            f"{estimates.less(factor, 'fewer')} of these queries; {estimates.less(whole, 'fewer')}"
            " of all queries that a request makes."
        )
    return tuple(lines)


def _factor(findings: Findings, collection: str | None, setting: Setting) -> Estimate | None:
    """The reduction factor over all rates."""
    rows = (
        row.factor
        for row in findings.of(DatabaseLoad).reductions
        if row.arm == setting.treatment and row.step is None and row.collection == collection
    )
    return next(rows, None)


def _is_fewer(factor: Estimate) -> bool:
    """Whether the queries became fewer: decidedly, where there is an interval."""
    if factor.low is None:
        return factor.is_known and (factor.value or 0.0) > 1.0
    return factor.low > 1.0


def _alt(shown: Shown, words: headline_figure.Words, setting: Setting) -> str:
    """Both panels in words."""
    parts = [f"{words.left}. {words.right}."]
    for bar in shown.bars:
        for part in bar.segments:
            if not part.share.value:
                continue
            is_rest = part.operation == REST
            said = estimates.point(part.share) if is_rest else estimates.text(part.share)
            parts.append(f"{setting.label(bar.arm)}: {part.operation} {said}.")
    for line in (*shown.measured, *((shown.predicted,) if shown.predicted else ())):
        for point in line.points:
            at = f"{formatting.plain(point.rate_per_s)} requests per second"
            parts.append(f"{setting.label(line.arm)} at {at}: {estimates.text(point.queries)}.")
    return " ".join(parts)
