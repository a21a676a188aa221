"""The run as it went: small panels over one clock, the arms in their colours, events marked."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.drawing import style

_PANEL_IN = 0.95
"""Height of one panel, its title included."""

_STRIP_IN, _KEY_LINE_IN = 0.10, 0.16
"""Height of the strip that says which arm was on, and of a line of arms' names above it."""

_LETTER_IN, _NAME_GAP_IN = 0.085, 0.3
"""Width of a letter of an arm's name, and the space to the next name."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One row of the figure: which series, under which title."""

    title: str
    series: tuple[str, ...]
    factor: float = 1.0
    """Shown over stored, such as 100 for percent."""


PANELS = (
    Panel("Requests per second", ("rate",)),
    Panel("Response time, seconds: median, and dotted the slowest", ("median", "slowest"), 1e-3),
    Panel("Database queries per second", ("queries",)),
    Panel("Lookups answered by the cache, %", ("hit_rate",), 100.0),
    Panel("Database connections in use", ("pool",)),
    Panel("Database connections busy with a query, by Little's law", ("busy",)),
    Panel("Machine's processor, %", ("cpu",)),
)


_POOL = next(panel for panel in PANELS if panel.series == ("pool",))
"""What the pool itself says; connections by Little's law are for when it says nothing."""


_ROOM = 1.008
"""The time axis reaches so much beyond the last point."""


def figure(
    timeline: pd.DataFrame,
    blocks: pd.DataFrame,
    events: pd.DataFrame,
    arms: tuple[str, ...],
    *,
    narrow: bool = False,
) -> Figure:
    """Draw the panels of which there is a series.

    Parameters
    ----------
    timeline
        As ``analysis.questions.timeline.answer.timeline`` gives it.
    blocks
        ``arm``, ``start_s``, ``end_s``, ``warmup``: the coloured strip on top.
    events
        ``t_s``, ``label``: marked by a line through all panels.
    arms
        In the manifest's order, for their colours.
    narrow
        For a phone.
    """
    panels = [panel for panel in PANELS if timeline["series"].isin(panel.series).any()]
    panels = [panel for panel in panels if panel.series != ("busy",) or _POOL not in panels]
    left, width = (0.11, 0.84) if narrow else (0.06, 0.925)
    names = _place_names(arms, width * (style.NARROW_IN if narrow else style.WIDE_IN))
    further = _KEY_LINE_IN * max((line for _, line in names), default=0)
    height = _PANEL_IN * max(len(panels), 1) + 0.9 + further
    canvas = style.canvas(height, narrow=narrow)
    top, bottom = 1 - (0.42 + further) / height, 0.42 / height
    step = (top - bottom) / max(len(panels), 1)
    end_s = _end_s(timeline, blocks)
    strip = canvas.add_axes((left, top + 0.06 / height, width, _STRIP_IN / height))
    _draw_blocks(strip, blocks, arms, end_s)
    _name_arms(strip, arms, names)
    for row, panel in enumerate(panels):
        axes = canvas.add_axes(
            (left, top - (row + 1) * step + 0.07 / height, width, step - 0.36 / height)
        )
        _draw_panel(axes, timeline, panel, arms)
        axes.set_xlim(0, end_s)
        for at in events["t_s"]:
            axes.axvline(at, color=style.ALARM, linewidth=0.9, linestyle=(0, (2, 2)))
        if row < len(panels) - 1:
            axes.tick_params(labelbottom=False)
        else:
            axes.set_xlabel("seconds from the start")
    _name_events(strip, events, 2.6 + further / _STRIP_IN)
    return canvas


def _draw_blocks(axes: Axes, blocks: pd.DataFrame, arms: tuple[str, ...], end_s: float) -> None:
    """The strip that says which arm was on when; warm-up is pale; each arm is named once."""
    style.quiet(axes)
    axes.set(xlim=(0, end_s), ylim=(0, 1), xticks=[], yticks=[])
    for arm, start, end, warmup in zip(
        blocks["arm"], blocks["start_s"], blocks["end_s"], blocks["warmup"], strict=True
    ):
        colour = style.arm_colour(arms.index(arm)) if arm in arms else style.MUTED
        axes.axvspan(start, end, color=colour, alpha=0.3 if warmup else 1.0, linewidth=0)


def _end_s(timeline: pd.DataFrame, blocks: pd.DataFrame) -> float:
    """Where the time axis ends."""
    return _ROOM * max(float(one.max()) for one in (timeline["t_s"], blocks["end_s"]) if len(one))


def _name_events(axes: Axes, events: pd.DataFrame, y: float) -> None:
    """Each event's name above its line."""
    size = style.SMALL_PT - 1
    for at, label in zip(events["t_s"], events["label"], strict=True):
        axes.text(at, y, label, color=style.ALARM, fontsize=size, ha="center")


def _place_names(arms: tuple[str, ...], width_in: float) -> list[tuple[float, int]]:
    """Where each arm's name begins, as a share of the width, and in which line from below."""
    places: list[tuple[float, int]] = []
    at, line = 0.0, 0
    for arm in arms:
        wide = _LETTER_IN * len(style.arm_label(arm))
        if at and at + wide > width_in:
            at, line = 0.0, line + 1
        places.append((at / width_in, line))
        at += wide + _NAME_GAP_IN
    return places


def _name_arms(axes: Axes, arms: tuple[str, ...], places: list[tuple[float, int]]) -> None:
    """Each arm once, above the strip, in its colour."""
    for position, (arm, (at, line)) in enumerate(zip(arms, places, strict=True)):
        axes.text(
            at,
            1.5 + line * _KEY_LINE_IN / _STRIP_IN,
            style.arm_label(arm),
            color=style.arm_colour(position),
            transform=axes.transAxes,
            fontweight="bold",
            va="bottom",
            fontsize=style.SMALL_PT,
        )


def _draw_panel(axes: Axes, timeline: pd.DataFrame, panel: Panel, arms: tuple[str, ...]) -> None:
    """One panel: points for bins, so that the gaps between an arm's blocks stay gaps."""
    style.quiet(axes, grid="y")
    rows = timeline[timeline["series"].isin(panel.series)]
    for (series, arm), points in rows.groupby(["series", "arm"], dropna=False):
        known = isinstance(arm, str) and arm in arms
        colour = style.arm_colour(arms.index(str(arm))) if known else style.MUTED
        second = series != panel.series[0]
        axes.plot(
            points["t_s"],
            points["value"].astype("float64") * panel.factor,
            "." if second or known else "-",
            color=colour,
            markersize=2.2 if second else 4.2,
            alpha=0.55 if second else 1.0,
            linewidth=1.2,
        )
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="y", nbins=3)
    axes.set_title(panel.title, loc="left", fontsize=style.SMALL_PT, color=style.INK, pad=3)
