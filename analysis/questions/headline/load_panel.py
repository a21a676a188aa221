"""The headline's right panel: queries per second against offered rate, measured and predicted."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from analysis.document import estimates, formatting
from analysis.drawing import labels, style
from analysis.stats.intervals import Estimate

_LABEL_LINE = 0.074
"""Height of a label's line as a share of the right panel."""

_LABEL_LETTERS = 14
"""What fits beside the panel in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Queries per second at an offered rate."""

    rate_per_s: float
    queries: Estimate
    """Known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An arm's queries per second, or those that its hit rate predicts."""

    arm: str
    points: tuple[Point, ...]
    """By rate, the lowest first; at least one."""


def draw_load(
    axes: Axes, measured: Sequence[Line], predicted: Line | None, *, counted: str, gap: str
) -> None:
    """Queries per second against offered rate, a line per arm, the prediction dashed."""
    style.quiet(axes, grid="y")
    ends = [_draw_arm(axes, line, position) for position, line in enumerate(measured)]
    gap_ends = list(ends)
    if predicted is not None:
        ends.append(_draw_predicted(axes, predicted))
    points = [
        point
        for line in (*measured, *((predicted,) if predicted else ()))
        for point in line.points
    ]
    heights = (max(one.queries.value or 0.0, one.queries.high or 0.0) for one in points)
    top = max(heights) * 1.06 or 1.0
    rates = [0.0, *sorted({point.rate_per_s for point in points})]
    right = rates[-1] or 1.0
    axes.set(xlim=(0, right * 1.1), ylim=(0, top), xlabel="requests per second, offered")
    axes.set_xticks(rates, [formatting.plain(rate) for rate in rates])
    axes.locator_params(axis="y", nbins=5)
    axes.text(
        0,
        1.015,
        counted,
        transform=axes.transAxes,
        fontsize=style.SMALL_PT,
        color=style.MUTED,
    )
    _label_ends(axes, ends, right * 1.13, top)
    if gap and len(gap_ends) > 1:
        _mark_gap(axes, gap_ends[0].value, gap_ends[1].value, right * 1.06, gap)


@dataclass(frozen=True, slots=True)
class _End:
    """Where a line ends and what it is called there."""

    value: float
    text: str
    colour: str


def _draw_arm(axes: Axes, line: Line, position: int) -> _End:
    """One arm's line; a point without interval has no whisker."""
    colour = style.arm_colour(position)
    axes.plot(
        *_coordinates(line),
        style.arm_marker(position),
        linestyle="-",
        color=colour,
        linewidth=2.2,
        markersize=5,
        zorder=4,
    )
    for point in line.points:
        low, high = point.queries.low, point.queries.high
        if low is not None and high is not None:
            axes.vlines(point.rate_per_s, low, high, color=colour, linewidth=1.6, zorder=4)
    last = line.points[-1].queries
    name = textwrap.fill(style.arm_label(line.arm), _LABEL_LETTERS)
    return _End(last.value or 0.0, f"{name}\n{estimates.point(last)}", colour)


def _draw_predicted(axes: Axes, line: Line) -> _End:
    """What the hit rate alone predicts: dashed, its open rings let the measured points show."""
    axes.plot(
        *_coordinates(line),
        "o",
        color=style.INK,
        linewidth=1.1,
        linestyle=(0, (3, 2.5)),
        markerfacecolor="none",
        markersize=9,
        markeredgewidth=1,
        zorder=5,
        clip_on=False,
    )
    last = line.points[-1].queries
    return _End(last.value or 0.0, f"predicted {estimates.point(last)}", style.MUTED)


def _coordinates(line: Line) -> tuple[list[float], list[float]]:
    return (
        [point.rate_per_s for point in line.points],
        [point.queries.value or 0.0 for point in line.points],
    )


def _label_ends(axes: Axes, ends: list[_End], x: float, top: float) -> None:
    """Name each line at its end, upwards from the lowest, pushed apart."""
    ordered = sorted(ends, key=lambda end: (round(end.value / top, 1), "\n" in end.text))
    heights = [top * _LABEL_LINE * (end.text.count("\n") + 1) for end in ordered]
    values = [end.value for end in ordered]
    places = labels.spread(values, heights, ceiling=top * (1 + _LABEL_LINE))
    for end, y in zip(ordered, places, strict=True):
        is_measured = end.colour != style.MUTED
        axes.text(
            x,
            y,
            end.text,
            color=end.colour,
            va="center",
            fontweight="bold" if is_measured else "normal",
            fontsize=style.TEXT_PT if is_measured else style.SMALL_PT,
            linespacing=1.25,
            clip_on=False,
        )


def _mark_gap(axes: Axes, high: float, low: float, x: float, gap: str) -> None:
    """An arrow from the baseline's end to the other arm's, with what the distance means."""
    look = {"arrowstyle": "-|>", "color": style.INK, "linewidth": 1.1, "shrinkA": 0, "shrinkB": 3}
    axes.annotate("", xy=(x, low), xytext=(x, high), arrowprops=look)
    middle = low + (high - low) * 0.42
    axes.text(
        x * 0.975,
        middle,
        gap,
        ha="right",
        va="center",
        fontsize=style.TITLE_PT + 2,
        fontweight="bold",
        color=style.INK,
    )
