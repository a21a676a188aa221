"""The headline's left panel: a bar per arm, a lens over what is in question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle

from analysis.document import estimates, formatting
from analysis.drawing import style
from analysis.stats.intervals import Estimate

_LABEL_FROM_SHARE = 0.055
"""A segment narrower than this share of the request has no room for its name."""

_TICK_SIDES: tuple[Literal["left", "center", "right"], ...] = ("left", "center", "right")
"""The lens' first and last tick label stay inside it."""

_NAME_SHARE_A_LETTER = 0.0125
"""Share of the bar that one letter of a name takes."""

_ROOM_BESIDE = 0.65
"""A bar that reaches further than this under the lens has its figure inside."""

_KEY_LINE_IN, _KEY_SIGN_IN = 0.165, 0.1
"""Height of a line of the key, and width of its coloured sign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """An operation's part of an arm's bar."""

    operation: str
    share: Estimate
    """Of the request; known."""
    cached: bool
    """Whether it is the operation in question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """The request of one arm."""

    arm: str
    request_ms: float | None
    segments: tuple[Segment, ...]
    """In the order in which they are drawn, the cached one first, as the lens is over it."""

    @property
    def cached(self) -> Segment | None:
        """The operation in question, where the arm has it."""
        return next((part for part in self.segments if part.cached), None)


def draw_bars(axes: Axes, bars: Sequence[Bar]) -> None:
    """One bar per arm: the cached operation in the arm's colour, the others in grey."""
    style.quiet(axes)
    for row, bar in enumerate(bars):
        left, greys = 0.0, iter(style.GREYS)
        for part in bar.segments:
            share = part.share.value or 0.0
            colour = style.arm_colour(row) if part.cached else next(greys, style.GREYS[-1])
            edge = "none" if part.cached else style.SURFACE
            axes.barh(
                -row, share, left=left, height=0.56, color=colour, edgecolor=edge, linewidth=0.8
            )
            if share >= _LABEL_FROM_SHARE and not part.cached:
                _name_segment(axes, left, share, -row, part.operation)
            left += share
        total = formatting.plain(bar.request_ms, "ms")
        head: dict[str, Any] = {"va": "bottom", "fontsize": style.TEXT_PT}
        axes.text(
            0,
            -row + 0.36,
            style.arm_label(bar.arm),
            color=style.arm_colour(row),
            fontweight="bold",
            **head,
        )
        axes.text(1, -row + 0.36, f"{total} per request", color=style.MUTED, ha="right", **head)
    axes.set(xlim=(0, 1), ylim=(-len(bars) + 0.6, 0.75), xticks=[], yticks=[])


def _name_segment(axes: Axes, left: float, share: float, row: float, name: str) -> None:
    """The share inside the segment, and the operation's name where there is room for it."""
    text = f"{name}  {_percent(share)}" if share > _room(name) else _percent(share)
    axes.text(
        left + share / 2,
        row,
        text,
        color=style.INK,
        ha="center",
        va="center",
        fontsize=style.SMALL_PT,
    )


def _room(name: str) -> float:
    """The share of the bar that a segment's name and share take."""
    return _NAME_SHARE_A_LETTER * len(name) + _LABEL_FROM_SHARE * 2


def name_the_rest(canvas: Figure, axes: Axes, bar: Bar) -> None:
    """Name the segments too narrow for a name, in their order, in the corner beside the lens."""
    place, line = axes.get_position(), _KEY_LINE_IN / canvas.get_figheight()
    y = place.y0 - 0.6 * line
    wide, high = _KEY_SIGN_IN / canvas.get_figwidth(), _KEY_SIGN_IN / canvas.get_figheight()
    others = [part for part in bar.segments if not part.cached]
    for position, part in enumerate(others):
        share = part.share.value or 0.0
        if share > _room(part.operation):
            continue
        colour = style.GREYS[min(position, len(style.GREYS) - 1)]
        sign = Rectangle((place.x1 - wide, y - high / 2), wide, high, facecolor=colour)
        canvas.add_artist(sign)
        canvas.text(
            place.x1 - 1.6 * wide,
            y,
            f"{part.operation} {_percent(share)}",
            ha="right",
            va="center",
            fontsize=style.SMALL_PT,
            color=style.MUTED,
        )
        y -= line


def _percent(share: float) -> str:
    """A share as whole percent, for inside a bar; the table beside the figure has the interval."""
    return f"{share:.0%}".replace("%", "\u202f%")


def draw_lens(axes: Axes, bars_axes: Axes, bars: Sequence[Bar]) -> None:
    """The beginning of each bar, enlarged until the cached operation can be seen."""
    parts = [bar.cached for bar in bars]
    known = [part for part in parts if part is not None]
    ends = (end for part in known for end in (part.share.value, part.share.high) if end)
    reach = _lens_reach(max(ends, default=0.0))
    style.quiet(axes, grid="x")
    for row, part in enumerate(parts):
        if part is not None:
            _draw_enlarged(axes, row, part.share, reach)
    axes.set(xlim=(0, reach or 1.0), ylim=(-len(bars) + 0.5, 0.5), yticks=[])
    ticks = [0.0, reach / 2, reach]
    axes.set_xticks(ticks, [f"{100 * tick:g}\u202f%" for tick in ticks])
    for tick, side in zip(axes.get_xticklabels(), _TICK_SIDES, strict=True):
        tick.set_horizontalalignment(side)
    times = round(1 / reach)
    how = f"enlarged {times} times" if times > 1 else "with its interval"
    head = f"{known[0].operation}, {how}"
    axes.text(reach * 0.01, 0.54, head, va="bottom", fontsize=style.SMALL_PT, color=style.MUTED)
    if times == 1:
        return
    foot = -len(bars) + 1 - 0.28
    for x_bar, x_lens in ((0.0, 0.0), (reach, 1.0)):
        line = ConnectionPatch(
            (x_bar, foot),
            (x_lens, 1.0),
            bars_axes.transData,
            axes.transAxes,
            color=style.FAINT,
            linewidth=0.7,
        )
        bars_axes.figure.add_artist(line)


def _draw_enlarged(axes: Axes, row: int, share: Estimate, reach: float) -> None:
    """One arm's row under the lens: the operation, its interval, the rest in grey."""
    start = share.value or 0.0
    axes.barh(-row, reach, height=0.56, color=style.GREYS[-1])
    axes.barh(-row, start, height=0.56, color=style.arm_colour(row))
    if share.low is not None and share.high is not None:
        ends = [share.low, share.high]
        axes.plot(ends, [-row, -row], color=style.INK, linewidth=1.6, solid_capstyle="butt")
        start = share.high
    text = estimates.text(share)
    look: dict[str, Any] = {"va": "center", "fontweight": "bold", "fontsize": style.SMALL_PT + 0.5}
    if start < reach * _ROOM_BESIDE:
        axes.text(start + reach * 0.02, -row, text, color=style.INK, **look)
    else:
        axes.text(reach * 0.02, -row, text, color=style.SURFACE, **look)


def _lens_reach(largest: float) -> float:
    """The share under the lens: the next 1, 2 or 5 that leaves room for a label."""
    wanted = max(largest * 1.7, 1e-6)
    power = 10.0 ** math.floor(math.log10(wanted))
    return min(next(step * power for step in (1, 2, 5, 10) if step * power >= wanted), 1.0)
