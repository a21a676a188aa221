"""The headline's left panel: a request as a bar an arm, a lens over what is in question."""

from __future__ import annotations

import math
from typing import Any, Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle

from analysis.document import formatting
from analysis.drawing import style

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


def draw_bars(axes: Axes, shares: pd.DataFrame, arms: list[str]) -> None:
    """One bar an arm: the cached operation in the arm's colour, the others in grey."""
    style.quiet(axes)
    for row, arm in enumerate(arms):
        parts = _in_order(shares[shares["arm"] == arm])
        left, greys = 0.0, iter(style.GREYS)
        for name, share, cached in zip(
            parts["operation"], parts["share"], parts["cached"], strict=True
        ):
            colour = style.arm_colour(row) if cached else next(greys, style.GREYS[-1])
            edge = "none" if cached else style.SURFACE
            axes.barh(
                -row, share, left=left, height=0.56, color=colour, edgecolor=edge, linewidth=0.8
            )
            if share >= _LABEL_FROM_SHARE and not cached:
                _name_segment(axes, left, share, -row, name)
            left += share
        total = formatting.plain(float(parts["request_ms"].iloc[0]), "ms")
        head: dict[str, Any] = {"va": "bottom", "fontsize": style.TEXT_PT}
        axes.text(
            0,
            -row + 0.36,
            style.arm_label(arm),
            color=style.arm_colour(row),
            fontweight="bold",
            **head,
        )
        axes.text(1, -row + 0.36, f"{total} a request", color=style.MUTED, ha="right", **head)
    axes.set(xlim=(0, 1), ylim=(-len(arms) + 0.6, 0.75), xticks=[], yticks=[])


def _name_segment(axes: Axes, left: float, share: float, row: float, name: str) -> None:
    """The share inside the segment, and the operation's name where there is room for it."""
    roomy = share > _NAME_SHARE_A_LETTER * len(name) + _LABEL_FROM_SHARE * 2
    text = f"{name}  {_percent(share)}" if roomy else _percent(share)
    axes.text(
        left + share / 2,
        row,
        text,
        color=style.INK,
        ha="center",
        va="center",
        fontsize=style.SMALL_PT,
    )


def name_the_rest(canvas: Figure, bars: Axes, shares: pd.DataFrame, arm: str) -> None:
    """Name the segments too narrow for a name, in their order, in the corner beside the lens."""
    parts = _in_order(shares[(shares["arm"] == arm) & ~shares["cached"]])
    room = _NAME_SHARE_A_LETTER * parts["operation"].str.len() + _LABEL_FROM_SHARE * 2
    place, line = bars.get_position(), _KEY_LINE_IN / canvas.get_figheight()
    y = place.y0 - 0.6 * line
    wide, high = _KEY_SIGN_IN / canvas.get_figwidth(), _KEY_SIGN_IN / canvas.get_figheight()
    for position, narrow in enumerate(parts["share"] <= room):
        if not narrow:
            continue
        part = parts.iloc[position]
        colour = style.GREYS[min(position, len(style.GREYS) - 1)]
        sign = Rectangle((place.x1 - wide, y - high / 2), wide, high, facecolor=colour)
        canvas.add_artist(sign)
        canvas.text(
            place.x1 - 1.6 * wide,
            y,
            f"{part['operation']} {_percent(part['share'])}",
            ha="right",
            va="center",
            fontsize=style.SMALL_PT,
            color=style.MUTED,
        )
        y -= line


def _percent(share: float) -> str:
    """A share as whole percent, for inside a bar; the table beside the figure has the interval."""
    return f"{share:.0%}".replace("%", "\u202f%")


def _in_order(parts: pd.DataFrame) -> pd.DataFrame:
    """The cached operation first, as the lens is over the bar's beginning; then as given."""
    return parts.sort_values("cached", ascending=False, kind="stable")


def draw_lens(axes: Axes, bars: Axes, shares: pd.DataFrame, arms: list[str]) -> None:
    """The beginning of each bar, enlarged until the cached operation can be seen."""
    cached = shares[shares["cached"]]
    reach = _lens_reach(float(cached[["share", "high"]].max().max()))
    style.quiet(axes, grid="x")
    for row, arm in enumerate(arms):
        for _, part in cached[cached["arm"] == arm].head(1).iterrows():
            _draw_enlarged(axes, row, part, reach)
    axes.set(xlim=(0, reach), ylim=(-len(arms) + 0.5, 0.5), yticks=[])
    ticks = [0.0, reach / 2, reach]
    axes.set_xticks(ticks, [f"{100 * tick:g}\u202f%" for tick in ticks])
    for tick, side in zip(axes.get_xticklabels(), _TICK_SIDES, strict=True):
        tick.set_horizontalalignment(side)
    times = round(1 / reach)
    how = f"enlarged {times} times" if times > 1 else "with its interval"
    head = f"{cached['operation'].iloc[0]}, {how}"
    axes.text(reach * 0.01, 0.54, head, va="bottom", fontsize=style.SMALL_PT, color=style.MUTED)
    if times == 1:
        return
    foot = -len(arms) + 1 - 0.28
    for x_bar, x_lens in ((0.0, 0.0), (reach, 1.0)):
        line = ConnectionPatch(
            (x_bar, foot),
            (x_lens, 1.0),
            bars.transData,
            axes.transAxes,
            color=style.FAINT,
            linewidth=0.7,
        )
        bars.figure.add_artist(line)


def _draw_enlarged(axes: Axes, row: int, part: pd.Series[Any], reach: float) -> None:
    """One arm's row under the lens: the operation, its interval, the rest in grey."""
    value, low, high = (_maybe(part[key]) for key in ("share", "low", "high"))
    axes.barh(-row, reach, height=0.56, color=style.GREYS[-1])
    axes.barh(-row, value or 0.0, height=0.56, color=style.arm_colour(row))
    start = value or 0.0
    if low is not None and high is not None:
        axes.plot([low, high], [-row, -row], color=style.INK, linewidth=1.6, solid_capstyle="butt")
        start = high
    text = formatting.estimate(value, low, high, "share")
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


def _maybe(value: object) -> float | None:
    """A table's cell as a number or None."""
    return None if pd.isna(value) else float(value)  # type: ignore[call-overload, arg-type] # a cell is a scalar
