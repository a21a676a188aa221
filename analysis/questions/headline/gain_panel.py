"""Gain against cost in one picture: what a request takes with the change, against without it.

One row each for the time, the database queries and the CPU of every part; all over one axis, the
baseline being 1, because what matters is which of them moved and which did not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from matplotlib.figure import Figure

from analysis.document import estimates
from analysis.document.document import Drawing
from analysis.document.setting import Setting
from analysis.drawing import dots, style
from analysis.questions.cost.answer import Cost, CostRow
from analysis.questions.database_load.answer import DatabaseLoad
from analysis.questions.faster.answer import Faster
from analysis.questions.findings import Findings
from analysis.stats.intervals import Estimate

PARTS: Final = {
    "database_cpu": "CPU of PostgreSQL",
    "cache_cpu": "CPU of Redis",
    "service_cpu": "CPU of the service",
}
"""Whose CPU is in the picture, by resource."""

LOG_FROM: Final = 4.0
"""A row at over four times the baseline, or under a quarter, asks for a logarithmic axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one quantity of a request is in the baseline and in the arm."""

    label: str
    before: Estimate | None
    """None of a part that the baseline does without, such as the cache."""
    after: Estimate
    ratio: Estimate | None
    """After over before."""

    @property
    def result(self) -> str:
        """Both values, such as ``1.21 ms → 1.19 ms``."""
        before = "none" if self.before is None else estimates.point(self.before)
        return f"{before} → {estimates.point(self.after)}"


def drawing(findings: Findings, setting: Setting) -> Drawing | None:
    """Give the picture; None where no part's CPU is known in both arms, so no cost is."""
    found = [*changes(findings, setting)]
    if not any(change.label in PARTS.values() and change.ratio for change in found):
        return None
    shown = setting.arms[:2]

    def draw(*, narrow: bool) -> Figure:
        return _figure(found, shown, narrow=narrow)

    said = " ".join(
        f"{change.label}: {change.result}"
        f"{f', {estimates.text(change.ratio)}' if change.ratio else ''}."
        for change in found
    )
    against = f"{setting.label(shown[1])} against {setting.label(shown[0])}"
    caption = (f"Per request, {against}; lines are 95 % intervals between blocks.",)
    alt = f"What a request gains and what it costs. {said}"
    return Drawing(name="gain-and-cost", alt=alt, draw=draw, caption=caption)


def changes(findings: Findings, setting: Setting) -> Iterator[Change]:
    """Time, queries, CPU by part: those that are known in both arms."""
    arm = setting.treatment
    for time in findings.of(Faster).end_to_end:
        whole = (time.arm, time.step, time.time, time.statistic)
        if whole == (arm, None, "response", "mean") and time.relative.is_known:
            yield Change(
                label="Time of a request",
                before=time.before,
                after=time.after,
                ratio=time.relative.shifted(1.0, "ratio"),
            )
    for load in findings.of(DatabaseLoad).reductions:
        about = load.collection in {None, setting.cached_collection}
        if load.arm == arm and load.step is None and about and load.factor.value:
            of = f"Queries of {load.collection}" if load.collection else "All database queries"
            yield Change(
                label=of, before=load.before, after=load.after, ratio=load.factor.inverse()
            )
    cost = findings.of(Cost)
    for resource, label in PARTS.items():
        change = cost.change(resource, arm)
        if change is not None and change.relative.is_known:
            ratio = change.relative.shifted(1.0, "ratio")
            yield Change(label=label, before=change.before, after=change.after, ratio=ratio)
            continue
        own = {row.arm: row.per_request for row in cost.rows if _is_whole(row, resource)}
        if arm in own and own[arm].is_known and setting.baseline not in own:
            yield Change(label=label, before=None, after=own[arm], ratio=None)


def _is_whole(row: CostRow, resource: str) -> bool:
    """Whether it is this resource's over all load levels."""
    return row.resource == resource and row.step is None


def _dots(ratio: Estimate) -> tuple[dots.Dot, dots.Dot]:
    """The baseline at 1 and the arm beside it."""
    return (
        dots.Dot(value=1.0, colour=style.arm_colour(0), marker=style.arm_marker(0)),
        dots.Dot(
            value=ratio.value or 0.0,
            low=ratio.low,
            high=ratio.high,
            colour=style.arm_colour(1),
            marker=style.arm_marker(1),
        ),
    )


def _figure(found: list[Change], arms: tuple[str, ...], *, narrow: bool) -> Figure:
    rows = tuple(
        dots.Row(
            label=change.label,
            dots=() if change.ratio is None else _dots(change.ratio),
            result=change.result,
        )
        for change in found
    )
    values = [change.ratio.value or 1.0 for change in found if change.ratio is not None]
    log = max(values) > LOG_FROM or min(values) < 1.0 / LOG_FROM
    axis = f"per request, as a multiple of {style.arm_label(arms[0])}"
    panel = dots.Panel(rows=rows, axis=axis, reference=1.0, log=log, from_zero=not log)
    return dots.figure([panel], key=style.arm_key(arms), narrow=narrow)
