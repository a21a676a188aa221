"""Many runs of one experiment: a panel per number, the runs in order of time, changes marked."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.drawing import style
from analysis.questions.history.answer import History, Series

_PANEL_IN = 1.35
"""Height of a panel, its title included."""


def figure(found: History, *, narrow: bool = False) -> Figure:
    """Draw each number with its intervals; dashed where a level begins, the newest run filled."""
    drawn = [one for one in found.series if any(point.estimate.is_known for point in one.points)]
    canvas = style.canvas(_PANEL_IN * max(len(drawn), 1) + 0.5, narrow=narrow)
    arms = list(dict.fromkeys(one.arm for one in drawn))
    places = {run: place for place, run in enumerate(found.runs)}
    rows = max(len(drawn), 1)
    panels: list[Axes] = list(canvas.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])
    for axes, one in zip(panels, drawn, strict=False):
        _panel(axes, one, places, style.arm_colour(arms.index(one.arm)))
    panels[-1].set_xticks(
        [0, len(places) - 1],
        [found.runs[0], found.runs[-1]] if not narrow else ["first", "newest"],
    )
    first, newest = panels[-1].get_xticklabels()
    first.set_horizontalalignment("left")
    newest.set_horizontalalignment("right")
    canvas.subplots_adjust(left=0.09, right=0.97, top=1 - 0.35 / canvas.get_figheight(),
                           bottom=0.35 / canvas.get_figheight(), hspace=0.55)  # fmt: skip
    return canvas


def _panel(axes: Axes, one: Series, places: dict[str, int], colour: str) -> None:
    style.quiet(axes, grid="y")
    unit = {"share": "", "ms": ", ms"}.get(one.points[0].estimate.unit, "")
    arm = f", {style.arm_label(one.arm)}" if one.arm else ""
    worse = f": {one.gate.decided}" if one.gate.decided != "not decided" else ""
    style.heading(axes, f"{one.what[0].upper()}{one.what[1:]}{unit}{arm}{worse}")
    for point in one.points:
        value, at = point.estimate.value, places[point.run]
        if value is None or math.isnan(value):
            continue
        if point.estimate.low is not None and point.estimate.high is not None:
            axes.vlines(at, point.estimate.low, point.estimate.high, color=colour, linewidth=1.5)
        newest = point is one.points[-1]
        axes.plot(
            [at], [value], "o", markersize=7 if newest else 4.5, color=colour,
            markerfacecolor=colour if newest else style.SURFACE,
        )  # fmt: skip
    for run in one.changes:
        axes.axvline(places[run] - 0.5, color=style.INK, linewidth=1.0, linestyle=(0, (4, 3)))
