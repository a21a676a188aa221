"""Whether the hit rate explains the reduction.

The law 1/(1 - h) as a line, what was measured as points.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import style

_LEAST_MISSES = 0.002
"""The curve is drawn up to a hit rate of 99.8 %; beyond it one miss more or less decides."""


def figure(table: pd.DataFrame, *, narrow: bool = False) -> Figure:
    """Draw the curve and the measured points with their intervals.

    ``table``: one row a point: ``label``, ``hit_rate``, ``hit_low``, ``hit_high``, ``reduction``,
    ``low``, ``high`` (null without).
    """
    height = 3.1 if narrow else 3.4
    canvas = style.canvas(height, narrow=narrow, width_in=None if narrow else style.WIDE_IN * 0.75)
    axes = style.quiet(
        canvas.add_axes((0.13 if narrow else 0.09, 0.16, 0.83 if narrow else 0.72, 0.74)), grid="y"
    )
    misses = 1 - table["hit_rate"].astype("float64")
    least = max(min(float(misses.min()) / 2, 0.5), _LEAST_MISSES)
    hit = 1 - np.geomspace(1.0, least, 200)
    axes.plot(100 * hit, 1 / (1 - hit), color=style.INK, linewidth=1.2, linestyle=(0, (3, 2.5)))
    for _, row in table.iterrows():
        _draw_point(axes, row)
    top = float(max(table[["reduction", "high"]].max().max(), 1.5)) * 1.15
    axes.set(xlim=(0, 100.5), ylim=(0, top), xlabel="lookups answered by the cache, %")
    style.heading(axes, "times fewer queries")
    axes.annotate(
        "1 / (1 − hit rate)",
        (50, 2),
        xytext=(0, 8),
        textcoords="offset points",
        fontsize=style.SMALL_PT,
        color=style.INK,
        ha="center",
    )
    return canvas


def _draw_point(axes: Axes, row: pd.Series[Any]) -> None:
    """One measured point with its intervals along both axes."""
    x, y = 100 * float(row["hit_rate"]), float(row["reduction"])
    colour = style.ARM_COLOURS[1]
    if pd.notna(row["low"]) and pd.notna(row["high"]):
        axes.plot([x, x], [row["low"], row["high"]], color=colour, linewidth=2.2, alpha=0.55)
    if pd.notna(row["hit_low"]) and pd.notna(row["hit_high"]):
        axes.plot(
            [100 * row["hit_low"], 100 * row["hit_high"]],
            [y, y],
            color=colour,
            linewidth=2.2,
            alpha=0.55,
        )
    axes.plot([x], [y], style.ARM_MARKERS[1], color=colour, markersize=6.5)
    axes.annotate(
        str(row["label"]),
        (x, y),
        xytext=(-9, 5),
        textcoords="offset points",
        ha="right",
        fontsize=style.SMALL_PT,
        color=colour,
        fontweight="bold",
    )
