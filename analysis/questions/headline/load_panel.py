"""The headline's right panel: queries per second against offered rate, measured and predicted."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes

from analysis.document import formatting
from analysis.drawing import labels, style

_LABEL_LINE = 0.074
"""Height of a label's line as a share of the right panel."""

_LABEL_LETTERS = 14
"""What fits beside the panel in one line."""


def draw_load(axes: Axes, load: pd.DataFrame, arms: list[str], *, counted: str, gap: str) -> None:
    """Queries per second against offered rate, an arm a line, the prediction dashed."""
    style.quiet(axes, grid="y")
    ends: list[_End] = []
    for position, arm in enumerate(arms):
        points = load[load["series"] == arm].sort_values("rate_per_s")
        if not points.empty:
            ends.append(_draw_arm(axes, points, arm, position))
    gap_ends = list(ends)
    predicted = load[load["series"] == "predicted"].sort_values("rate_per_s")
    if not predicted.empty:
        ends.append(_draw_predicted(axes, predicted))
    top = float(load[["queries_per_s", "high"]].max().max()) * 1.06 or 1.0
    rates = [0.0, *sorted(float(rate) for rate in load["rate_per_s"].unique())]
    right = rates[-1] or 1.0
    axes.set(xlim=(0, right * 1.1), ylim=(0, top), xlabel="requests per second, offered")
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
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


def _draw_arm(axes: Axes, points: pd.DataFrame, arm: str, position: int) -> _End:
    """One arm's line; a point without interval has no whisker."""
    colour = style.arm_colour(position)
    x, y = points["rate_per_s"], points["queries_per_s"]
    axes.plot(
        x,
        y,
        style.arm_marker(position),
        linestyle="-",
        color=colour,
        linewidth=2.2,
        markersize=5,
        zorder=4,
    )
    known = points.dropna(subset=["low", "high"])
    axes.vlines(
        known["rate_per_s"], known["low"], known["high"], color=colour, linewidth=1.6, zorder=4
    )
    last = points.iloc[-1]
    value, low, high = (_maybe(last[key]) for key in ("queries_per_s", "low", "high"))
    name = textwrap.fill(style.arm_label(arm), _LABEL_LETTERS)
    text = f"{name}\n{formatting.point(value, low, high, 'per_s')}"
    return _End(value or 0.0, text, colour)


def _draw_predicted(axes: Axes, points: pd.DataFrame) -> _End:
    """What the hit rate alone predicts: dashed, its open rings let the measured points show."""
    axes.plot(
        points["rate_per_s"],
        points["queries_per_s"],
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
    last = points.iloc[-1]
    value, low, high = (_maybe(last[key]) for key in ("queries_per_s", "low", "high"))
    text = f"predicted {formatting.point(value, low, high, 'per_s')}"
    return _End(value or 0.0, text, style.MUTED)


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


def _maybe(value: object) -> float | None:
    """A table's cell as a number or None."""
    return None if pd.isna(value) else float(value)  # type: ignore[call-overload, arg-type] # a cell is a scalar
