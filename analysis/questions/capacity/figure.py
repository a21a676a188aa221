"""Response time against offered rate, and what is expected beyond what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.document import formatting
from analysis.drawing import labels, style
from analysis.stats.intervals import Estimate

_LABEL_LINE = 0.085
"""Height of a label's line as a share of the panel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One arm at one rate."""

    arm: str
    rate_per_s: float
    value: float
    low: float | None
    high: float | None
    measured: bool = True
    """False where it is an expectation."""


def point_of(arm: str, rate_per_s: float, found: Estimate, *, measured: bool = True) -> Point:
    """The point of an estimate that is known."""
    return Point(
        arm=arm,
        rate_per_s=rate_per_s,
        value=found.value or 0.0,
        low=found.low,
        high=found.high,
        measured=measured,
    )


def figure(latency: Sequence[Point], queries: Sequence[Point], *, narrow: bool = False) -> Figure:
    """Draw response times left, queries per second right.

    ``latency`` is the 95th percentile in ms. ``queries`` are per second and above 0; beyond the
    last measured rate they are dashed. Either may be empty.
    """
    arms = list(dict.fromkeys(point.arm for point in (*latency, *queries)))
    both = bool(latency) and bool(queries)
    height = (5.4 if both else 2.9) if narrow else 3.1
    canvas = style.canvas(height, narrow=narrow)
    if narrow:
        places = (
            [(0.13, 0.60, 0.62, 0.32), (0.13, 0.10, 0.62, 0.32)]
            if both
            else [(0.13, 0.18, 0.62, 0.68)]
        )
    else:
        places = (
            [(0.06, 0.16, 0.30, 0.68), (0.56, 0.16, 0.30, 0.68)]
            if both
            else [(0.06, 0.16, 0.5, 0.68)]
        )
    free = iter(places)
    if latency:
        _draw_latency(style.quiet(canvas.add_axes(next(free)), grid="y"), latency, arms)
    if queries:
        _draw_queries(style.quiet(canvas.add_axes(next(free)), grid="y"), queries, arms)
    return canvas


def _own(points: Sequence[Point], arm: str) -> list[Point]:
    """An arm's points in order of their rate."""
    return sorted((one for one in points if one.arm == arm), key=lambda one: one.rate_per_s)


def _draw_latency(axes: Axes, latency: Sequence[Point], arms: list[str]) -> None:
    """One line per arm, named at its end."""
    for position, arm in enumerate(arms):
        own = _own(latency, arm)
        colour = style.arm_colour(position)
        axes.plot(
            [one.rate_per_s for one in own],
            [one.value / 1e3 for one in own],
            color=colour,
            linewidth=1.8,
            marker=style.arm_marker(position),
            markersize=4.5,
        )
        known = [
            (one.rate_per_s, one.low / 1e3, one.high / 1e3)
            for one in own
            if one.low is not None and one.high is not None
        ]
        for rate, low, high in known:
            axes.vlines(rate, low, high, color=colour, linewidth=2, alpha=0.5)
    top = max(max(one.value, one.high or 0.0) for one in latency) / 1e3 * 1.1
    axes.set(ylim=(0, top), xlabel="requests per second, offered")
    rates = sorted({one.rate_per_s for one in latency})
    axes.set_xticks(rates, [formatting.plain(rate) for rate in rates])
    style.heading(axes, "p95 of the response time, seconds")
    ends = sorted((one.value / 1e3, one.arm) for one in latency if one.rate_per_s == rates[-1])
    heights = [top * _LABEL_LINE] * len(ends)
    places = labels.spread([end for end, _ in ends], heights, ceiling=top)
    for (_, arm), y in zip(ends, places, strict=True):
        style.beside(
            axes, y, style.arm_label(arm), colour=style.arm_colour(arms.index(arm)), bold=True
        )


def _draw_queries(axes: Axes, queries: Sequence[Point], arms: list[str]) -> None:
    """Measured points with a full line, expectation dashed.

    Both axes are logarithmic: they span decades.
    """
    axes.set_xscale("log")
    axes.set_yscale("log")
    ends: list[tuple[float, str]] = []
    for position, arm in enumerate(arms):
        points = _own(queries, arm)
        if points:
            _draw_queries_of_arm(axes, points, position)
            ends.append((points[-1].value, style.arm_colour(position)))
    _label_ends(axes, ends)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,.10g}".replace(",", "\u202f"))
    axes.minorticks_off()
    axes.set_xlabel("requests per second, offered")
    style.heading(axes, "database queries per second, dashed: expected")


def _draw_queries_of_arm(axes: Axes, points: list[Point], position: int) -> None:
    """One arm: what was measured, and from its last point on what is expected, with its band."""
    colour, marker = style.arm_colour(position), style.arm_marker(position)
    measured = [one for one in points if one.measured]
    beyond = [one for one in points if not one.measured]
    look: dict[str, Any] = {"color": colour, "marker": marker, "linewidth": 2, "markersize": 4.5}
    dashed: dict[str, Any] = {"color": colour, "linewidth": 1.4, "linestyle": (0, (3, 2.5))}
    for shown, how in ((measured, look), (measured[-1:] + beyond, dashed)):
        axes.plot([one.rate_per_s for one in shown], [one.value for one in shown], **how)
    axes.fill_between(
        [one.rate_per_s for one in beyond],
        [math.nan if one.low is None else one.low for one in beyond],
        [math.nan if one.high is None else one.high for one in beyond],
        color=colour,
        alpha=0.15,
        linewidth=0,
    )


def _label_ends(axes: Axes, ends: list[tuple[float, str]]) -> None:
    """What is expected at the highest rate, beside each line's end."""
    bottom, top = (math.log10(end) for end in axes.get_ylim())
    ordered = sorted(ends)
    heights = [(top - bottom) * _LABEL_LINE] * len(ordered)
    wanted = [math.log10(value) for value, _ in ordered]
    places = labels.spread(wanted, heights, ceiling=top + heights[0] / 2 if heights else top)
    for (value, colour), place in zip(ordered, places, strict=True):
        text = formatting.plain(value, "per_s")
        axes.text(
            1.03,
            10**place,
            text,
            transform=axes.get_yaxis_transform(),
            color=colour,
            fontweight="bold",
            va="center",
            fontsize=style.SMALL_PT,
        )
