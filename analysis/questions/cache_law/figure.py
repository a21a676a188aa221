"""Whether the hit rate explains the reduction.

The law 1/(1 - h) as a line, what was measured as points. Both axes are logarithmic, the horizontal
one in the lookups that are left: there the law is a straight line, and the last percents, which
decide, are as wide as the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.drawing import labels, style
from analysis.stats.intervals import Estimate

_LEAST_MISSES = 0.002
"""The line is drawn up to a hit rate of 99.8 %; beyond it one miss more or less decides."""

_TICKED_MISSES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002)
_TICKED_FACTORS = (1, 2, 5, 10, 20, 50, 100, 200, 500)

_LEFT = 0.3
"""Left of this share of the panel there is no room for a name left of its point."""

_LABEL_LINE = 0.06
"""Height of a label's line as a share of the panel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What was measured with one arm."""

    label: str
    hit_rate: Estimate
    """Known."""
    reduction: Estimate
    """Known: how many times fewer queries."""

    @property
    def misses(self) -> float:
        """Where it stands on the horizontal axis."""
        return min(max(1.0 - (self.hit_rate.value or 0.0), _LEAST_MISSES), 1.0)


def figure(points: Sequence[Point], *, narrow: bool = False) -> Figure:
    """Draw the line of the law and the measured points, the treatment first."""
    height = 3.1 if narrow else 3.4
    canvas = style.canvas(height, narrow=narrow, width_in=None if narrow else style.WIDE_IN * 0.75)
    axes = style.quiet(
        canvas.add_axes((0.13 if narrow else 0.09, 0.16, 0.83 if narrow else 0.86, 0.74)), grid="y"
    )
    least = max(min(min(point.misses for point in points) / 2, 0.02), _LEAST_MISSES)
    axes.set(xscale="log", yscale="log", xlim=(1.15, least), ylim=(0.85, 1.15 / least))
    look: dict[str, Any] = {"color": style.INK, "linewidth": 1.2, "linestyle": (0, (3, 2.5))}
    axes.plot([1.0, least], [1.0, 1 / least], **look)
    _tick(axes, least)
    for position, point in enumerate(points):
        _draw_point(axes, point, position + 1)
    _name(axes, points)
    style.heading(axes, "times fewer queries; dashed: 1 / (1 − hit rate)")
    return canvas


def _tick(axes: Axes, least: float) -> None:
    """Ticks in words that people use: the hit rate, and plain factors."""
    misses = [tick for tick in _TICKED_MISSES if tick >= least]
    factors = [tick for tick in _TICKED_FACTORS if tick <= 1.15 / least]
    axes.set_xticks(misses, [f"{100 * (1 - tick):.4g}" for tick in misses])
    axes.set_yticks(factors, [str(tick) for tick in factors])
    axes.minorticks_off()
    axes.set_xlabel("lookups answered by the cache, %")


def _draw_point(axes: Axes, point: Point, position: int) -> None:
    """One measured point with its intervals along both axes."""
    x, y = point.misses, point.reduction.value or 0.0
    hit, reduction = point.hit_rate, point.reduction
    colour = style.arm_colour(position)
    look: dict[str, Any] = {"color": colour, "linewidth": 2.2, "alpha": 0.55}
    if reduction.low is not None and reduction.high is not None:
        axes.plot([x, x], [reduction.low, reduction.high], **look)
    if hit.low is not None and hit.high is not None:
        axes.plot([1 - hit.low, max(1 - hit.high, _LEAST_MISSES)], [y, y], **look)
    axes.plot([x], [y], style.arm_marker(position), color=colour, markersize=6.5, clip_on=False)


def _name(axes: Axes, points: Sequence[Point]) -> None:
    """Each point's name left of it or, near the left edge, right; pushed apart."""
    room = axes.transAxes.inverted()
    placed = [
        (
            room.transform(axes.transData.transform((point.misses, point.reduction.value or 0.0))),
            at,
            point,
        )
        for at, point in enumerate(points)
    ]
    for leftish in (True, False):
        side = sorted(
            (one for one in placed if (one[0][0] < _LEFT) == leftish), key=lambda one: one[0][1]
        )
        shift = -0.005 if leftish else 0.03
        wanted = [float(place[1]) + shift for place, _, _ in side]
        heights = [_LABEL_LINE] * len(side)
        for (place, at, point), y in zip(side, labels.spread(wanted, heights), strict=True):
            axes.text(
                float(place[0]) + (0.025 if leftish else -0.02),
                y,
                point.label,
                transform=axes.transAxes,
                ha="left" if leftish else "right",
                va="center",
                fontsize=style.SMALL_PT,
                color=style.arm_colour(at + 1),
                fontweight="bold",
            )
