"""Rows of dots with their intervals: how most of the comparisons are drawn.

A row is a quantity, a dot an arm or an estimate, its line the interval. The row's name stands
left on a desk screen and above the row on a phone; what the row comes to stands at its right end,
so that nobody has to read values off an axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.drawing import style
from analysis.drawing.labels import fitted

_ROW_IN, _NARROW_ROW_IN = 0.36, 0.56
"""Height of a row; on a phone its name stands above it."""

_LETTERS, _SMALL_LETTERS, _NARROW_LETTERS = 25, 29, 44
"""Letters of a row's name left of the axes; in small, in two lines; on a phone, its result too."""

_HEAD_IN, _FOOT_IN = 0.34, 0.52
"""Room for the title and for the axis."""


_KEY_LINE_IN, _KEY_LETTER = 0.2, 0.0115
"""Height of a line of the key; width of a letter as a share of the figure."""

_SIGNS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚", "hollow": "○"}
"""Markers as characters, for the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One estimate."""

    value: float
    low: float | None = None
    high: float | None = None
    colour: str = style.INK
    marker: str = "o"
    hollow: bool = False
    """Not measured: predicted, required, a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the figure."""

    label: str
    dots: tuple[Dot, ...]
    result: str = ""
    """What the row comes to, at its right end."""
    strong: bool = False
    """The row in question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Some rows over one axis."""

    rows: tuple[Row, ...]
    axis: str
    """Label of the axis, unit included."""
    title: str = ""
    reference: float | None = None
    """Where the line of no difference stands."""
    band: tuple[float, float] | None = None
    """What does not matter: shaded."""
    log: bool = False
    from_zero: bool = False
    """Whether the axis begins at 0."""


def figure(
    panels: Sequence[Panel], *, key: Sequence[tuple[str, str, str]] = (), narrow: bool = False
) -> Figure:
    """Draw the panels one below the other; ``key`` names colours: (text, colour, marker) each."""
    row_in = _NARROW_ROW_IN if narrow else _ROW_IN
    key_in = _KEY_LINE_IN * (len(key) if narrow else bool(key)) + (0.1 if key else 0.0)
    heights = [
        len(panel.rows) * row_in + (_HEAD_IN if panel.title else 0.12) + _FOOT_IN
        for panel in panels
    ]
    total = sum(heights) + key_in
    canvas = style.canvas(total, narrow=narrow)
    left, right = (0.02, 0.97) if narrow else (0.27, 0.74)
    below = total - key_in
    for panel, height in zip(panels, heights, strict=True):
        rows_in = len(panel.rows) * row_in
        below -= height
        axes = canvas.add_axes((left, (below + _FOOT_IN) / total, right - left, rows_in / total))
        _draw(axes, panel, narrow=narrow)
        if panel.title:
            canvas.text(
                0.008,
                (below + _FOOT_IN + rows_in + 0.1) / total,
                panel.title,
                fontsize=style.TEXT_PT + 0.5,
                fontweight="bold",
                color=style.INK,
                va="bottom",
            )
    _draw_key(canvas, key, narrow=narrow)
    return canvas


def _draw(axes: Axes, panel: Panel, *, narrow: bool) -> None:
    """One panel: rows from the top, the first at the top."""
    style.quiet(axes, grid="x")
    if panel.log:
        axes.set_xscale("log")
    for index, row in enumerate(panel.rows):
        y = -index - (0.22 if narrow else 0.0)
        axes.axhline(y, color=style.GRID, linewidth=0.8, zorder=0)
        for dot in row.dots:
            _draw_dot(axes, dot, y)
        _write(axes, row, y, narrow=narrow)
    axes.set(ylim=(-len(panel.rows) + 0.45, 0.55), yticks=[], xlabel=panel.axis)
    low, high = _reach(panel)
    axes.set_xlim(low, high)
    if panel.band is not None:
        axes.axvspan(*panel.band, color=style.GREYS[-1], linewidth=0, zorder=-1)
    _draw_reference(axes, panel, narrow=narrow)
    if not panel.log:
        axes.locator_params(axis="x", nbins=4 if narrow else 6)
    else:
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}".replace(",", "\u202f"))
        axes.minorticks_off()


def _draw_reference(axes: Axes, panel: Panel, *, narrow: bool) -> None:
    """A line from top to bottom; on a phone beside each row's marks alone, below its words."""
    if panel.reference is None:
        return
    if not narrow:
        axes.axvline(panel.reference, color=style.INK, linewidth=1.0, zorder=1)
        return
    for index in range(len(panel.rows)):
        ends = [-index - 0.44, -index]
        axes.plot([panel.reference] * 2, ends, color=style.INK, linewidth=1.0, zorder=1)


def _draw_dot(axes: Axes, dot: Dot, y: float) -> None:
    """The interval as a line, the estimate as a mark on it."""
    if dot.low is not None and dot.high is not None:
        axes.plot(
            [dot.low, dot.high],
            [y, y],
            color=dot.colour,
            linewidth=2.4,
            alpha=0.55,
            solid_capstyle="round",
            zorder=3,
        )
    face = style.SURFACE if dot.hollow else dot.colour
    axes.plot(
        [dot.value],
        [y],
        dot.marker,
        color=dot.colour,
        markerfacecolor=face,
        markersize=6.5,
        zorder=4,
    )


def _write(axes: Axes, row: Row, y: float, *, narrow: bool) -> None:
    """Name and result of a row: on a phone both above it, else left and right."""
    look: dict[str, Any] = {
        "transform": axes.get_yaxis_transform(),
        "color": style.INK,
        "va": "center",
        "fontweight": "bold" if row.strong else "normal",
    }
    if narrow:
        ground = {"facecolor": style.SURFACE, "edgecolor": "none", "pad": 0.8}
        label = fitted(row.label, _NARROW_LETTERS - len(row.result))
        axes.text(0, y + 0.4, label, fontsize=style.SMALL_PT, bbox=ground, **look)
        axes.text(1, y + 0.4, row.result, fontsize=style.SMALL_PT, ha="right", bbox=ground, **look)
        return
    place = axes.get_position()
    is_long = len(row.label) > _LETTERS
    label = fitted(row.label, _SMALL_LETTERS, 2) if is_long else row.label
    size = style.SMALL_PT if is_long else style.TEXT_PT
    axes.text(-(place.x0 - 0.008) / place.width, y, label, fontsize=size, **look)
    axes.text(1.03, y, row.result, fontsize=style.SMALL_PT, **look)


def _reach(panel: Panel) -> tuple[float, float]:
    """The axis' ends: all dots and intervals, the reference too, with a little room."""
    values = [
        end
        for row in panel.rows
        for dot in row.dots
        for end in (dot.low, dot.high, dot.value)
        if end is not None
    ]
    values += list(panel.band or ())
    values += [panel.reference] if panel.reference is not None else []
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if panel.log:
        low = min((value for value in values if value > 0), default=0.1)
        high = max(high, low)
        return low / 1.5, high * 1.5
    low = min(low, 0.0) if panel.from_zero else low
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    return low - (room / 2 if panel.from_zero else room), high + room


def _draw_key(canvas: Figure, key: Sequence[tuple[str, str, str]], *, narrow: bool) -> None:
    """The colours' names on top, each in its colour: in a line, on a phone one below the other."""
    height = canvas.get_figheight()
    x, y = (0.02 if narrow else 0.008), 1 - _KEY_LINE_IN / 2 / height
    for text, colour, marker in key:
        words = f"{_SIGNS.get(marker, '●')} {text}"
        canvas.text(
            x, y, words, color=colour, fontweight="bold", fontsize=style.SMALL_PT, va="center"
        )
        if narrow:
            y -= _KEY_LINE_IN / height
        else:
            x += _KEY_LETTER * (len(text) + 4)
