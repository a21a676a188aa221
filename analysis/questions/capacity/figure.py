"""Where more load stops helping.

Response time against offered rate, and what is expected beyond what was measured.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.document import formatting
from analysis.drawing import labels, style

_LABEL_LINE = 0.085
"""Height of a label's line as a share of the panel."""


def figure(latency: pd.DataFrame, expected: pd.DataFrame, *, narrow: bool = False) -> Figure:
    """Draw response times left, queries per second right.

    Beyond the last measured rate all is dashed.

    ``latency``: ``arm``, ``rate_per_s``, ``value`` (ms), ``low``, ``high``, ``quantile`` (such as
    ``p95``). ``expected``: ``arm``, ``rate_per_s``, ``queries_per_s``, ``low``, ``high``,
    ``measured`` (bool); may be empty.
    """
    arms = list(dict.fromkeys([*latency["arm"], *expected["arm"]]))
    both = not latency.empty and not expected.empty
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
    if not latency.empty:
        _draw_latency(style.quiet(canvas.add_axes(next(free)), grid="y"), latency, arms)
    if not expected.empty:
        _draw_expected(style.quiet(canvas.add_axes(next(free)), grid="y"), expected, arms)
    return canvas


def _draw_latency(axes: Axes, latency: pd.DataFrame, arms: list[str]) -> None:
    """A line an arm and quantile, named at its end.

    The shape tells the quantile, the colour the arm.
    """
    styles = ("-", (0, (4, 1.5)), (0, (1, 1.5)))
    quantiles = list(dict.fromkeys(latency["quantile"]))
    for (arm, quantile), group in latency.groupby(["arm", "quantile"], sort=False):
        position = arms.index(str(arm))
        points = group.sort_values("rate_per_s")
        colour = style.arm_colour(position)
        seconds = points["value"] / 1000
        axes.plot(
            points["rate_per_s"],
            seconds,
            color=colour,
            linewidth=1.8,
            linestyle=styles[quantiles.index(quantile) % 3],
            marker=style.arm_marker(position),
            markersize=4.5,
        )
        known = points.dropna(subset=["low", "high"])
        axes.vlines(
            known["rate_per_s"],
            known["low"] / 1000,
            known["high"] / 1000,
            color=colour,
            linewidth=2,
            alpha=0.5,
        )
    top = float(latency[["value", "high"]].max().max()) / 1000 * 1.1
    axes.set(ylim=(0, top), xlabel="requests per second, offered")
    rates = sorted(float(rate) for rate in latency["rate_per_s"].unique())
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    style.heading(axes, f"{', '.join(map(str, quantiles))} of the response time, seconds")
    _name_arms(axes, latency, arms, top)


def _draw_expected(axes: Axes, expected: pd.DataFrame, arms: list[str]) -> None:
    """Measured points with a full line, expectation dashed, both axes logarithmic.

    It spans decades.
    """
    axes.set_xscale("log")
    axes.set_yscale("log")
    ends: list[tuple[float, str]] = []
    for position, arm in enumerate(arms):
        points = expected[expected["arm"] == arm].sort_values("rate_per_s")
        if not points.empty:
            _draw_expected_arm(axes, points, position)
            ends.append((float(points["queries_per_s"].iloc[-1]), style.arm_colour(position)))
    _label_ends(axes, ends)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,.10g}".replace(",", "\u202f"))
    axes.minorticks_off()
    axes.set_xlabel("requests per second, offered")
    style.heading(axes, "database queries per second, dashed: expected")


def _draw_expected_arm(axes: Axes, points: pd.DataFrame, position: int) -> None:
    """One arm: what was measured, and from its last point on what is expected, with its band."""
    colour, marker = style.arm_colour(position), style.arm_marker(position)
    measured, beyond = points[points["measured"]], points[~points["measured"]]
    joined = pd.concat([measured.tail(1), beyond])
    low, high = (beyond[end].astype("float64") for end in ("low", "high"))
    look: dict[str, Any] = {"color": colour, "marker": marker, "linewidth": 2, "markersize": 4.5}
    axes.plot(measured["rate_per_s"], measured["queries_per_s"], **look)
    dashed: dict[str, Any] = {"color": colour, "linewidth": 1.4, "linestyle": (0, (3, 2.5))}
    axes.plot(joined["rate_per_s"], joined["queries_per_s"], **dashed)
    axes.fill_between(beyond["rate_per_s"], low, high, color=colour, alpha=0.15, linewidth=0)


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


def _name_arms(axes: Axes, latency: pd.DataFrame, arms: list[str], top: float) -> None:
    """Each arm's name beside the end of its line."""
    last = latency[latency["rate_per_s"] == latency["rate_per_s"].max()]
    ends = (last.groupby("arm")["value"].max() / 1000).sort_values()
    heights = [top * _LABEL_LINE] * len(ends)
    places = labels.spread(list(ends), heights, ceiling=top)
    for arm, y in zip(ends.index, places, strict=True):
        style.beside(
            axes, y, style.arm_label(arm), colour=style.arm_colour(arms.index(arm)), bold=True
        )
