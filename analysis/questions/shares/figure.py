"""Where one request's time goes: one row per operation, one bar per arm, emulated time pale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.document import estimates
from analysis.drawing import style
from analysis.drawing.labels import fitted
from analysis.stats.intervals import Estimate

_LETTERS = 29
"""Letters of a small line of an operation's name: left of the axes, or above them on a phone."""

_BAR_IN, _GAP_IN, _NARROW_NAME_IN = 0.17, 0.16, 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One operation in one arm."""

    arm: str
    operation: str
    critical_ms: float
    """Mean per request on the critical path."""
    emulated_ms: float | None
    """Of that; None where it is not known."""
    share: Estimate
    cached: bool
    """Whether it is the operation in question."""


def figure(bars: Sequence[Bar], *, narrow: bool = False) -> Figure:
    """Draw a group of bars per operation, the longest operation on top, arms as they come."""
    arms = list(dict.fromkeys(bar.arm for bar in bars))
    longest: dict[str, float] = {}
    for bar in bars:
        longest[bar.operation] = max(bar.critical_ms, longest.get(bar.operation, 0.0))
    order = sorted(longest, key=lambda operation: -longest[operation])
    group_in = len(arms) * _BAR_IN + _GAP_IN + (_NARROW_NAME_IN if narrow else 0.0)
    head_in = 0.5 if narrow else 0.32
    height = len(order) * group_in + head_in + 0.5
    canvas = style.canvas(height, narrow=narrow)
    left, right = (0.015, 0.48) if narrow else (0.27, 0.76)
    axes = canvas.add_axes((left, 0.5 / height, right - left, 1 - (head_in + 0.5) / height))
    style.quiet(axes, grid="x")
    for place, operation in enumerate(order):
        top = -place * group_in - (_NARROW_NAME_IN if narrow else 0.0)
        own = [bar for bar in bars if bar.operation == operation]
        _draw_operation(axes, own, arms, top, narrow=narrow)
    axes.set(
        ylim=(-len(order) * group_in, 0),
        yticks=[],
        xlim=(0, max(longest.values()) * 1.02 or 1.0),
    )
    axes.set_xlabel(
        "milliseconds of one request"
        if narrow
        else "milliseconds of one request, on its critical path"
    )
    axes.locator_params(axis="x", nbins=4 if narrow else 7)
    pale = any(bar.emulated_ms for bar in bars)
    _draw_key(canvas, arms, 1 - 0.14 / height, pale=pale, narrow=narrow)
    return canvas


def _draw_operation(
    axes: Axes, bars: Sequence[Bar], arms: Sequence[str], top: float, *, narrow: bool
) -> None:
    """One operation's bars, its name left (above on a phone), share and interval right."""
    place = axes.get_position()
    left, y = -(place.x0 - 0.008) / place.width, -len(arms) * _BAR_IN / 2
    name = fitted(bars[0].operation, _LETTERS, 1 if narrow else 2)
    axes.text(
        0.0 if narrow else left,
        top + (0.03 if narrow else y),
        name,
        transform=axes.get_yaxis_transform(),
        fontsize=style.SMALL_PT if narrow or "\n" in name else style.TEXT_PT,
        color=style.INK,
        fontweight="bold" if bars[0].cached else "normal",
        va="bottom" if narrow else "center",
    )
    for bar in bars:
        position = arms.index(bar.arm)
        _draw_bar(axes, bar, top - (position + 0.5) * _BAR_IN, style.arm_colour(position))


def _draw_bar(axes: Axes, bar: Bar, y: float, colour: str) -> None:
    """One arm's bar: what is measured full, what is emulated pale; its share beside it."""
    emulated = min(bar.emulated_ms or 0.0, bar.critical_ms)
    measured = bar.critical_ms - emulated
    look: dict[str, Any] = {"height": _BAR_IN * 0.82, "color": colour, "linewidth": 0}
    axes.barh(y, measured, **look)
    axes.barh(y, emulated, left=measured, alpha=0.35, **look)
    style.beside(axes, y, estimates.text(bar.share), colour=colour, bold=bar.cached)


def _draw_key(canvas: Figure, arms: Sequence[str], y: float, *, pale: bool, narrow: bool) -> None:
    """Which colour is which arm, and what pale means where there is any."""
    x = 0.015 if narrow else 0.008
    for position, arm in enumerate(arms):
        text = style.arm_label(arm)
        canvas.text(
            x,
            y,
            f"■ {text}",
            color=style.arm_colour(position),
            fontweight="bold",
            fontsize=style.SMALL_PT,
            va="center",
        )
        x += (0.024 if narrow else 0.0115) * (len(text) + 4)
    if not pale:
        return
    if narrow:
        x, y = 0.015, y - 0.19 / canvas.get_figheight()
    canvas.text(
        x,
        y,
        "full: measured, pale: emulated",
        color=style.MUTED,
        fontsize=style.SMALL_PT,
        va="center",
    )
