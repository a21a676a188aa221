"""The headline: one request's time on the left, the database's load on the right.

Left, one bar an arm, all grey but the cached operation, and a lens over its beginning, because
what is 0.3 % of a request can be seen in no other way and must not be drawn larger than it is.
Right, database queries per second against the offered rate, measured in both arms and predicted
from the hit rate alone. Colour means the arm in both.
"""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle

from analysis import formatting
from analysis.figures import labels, style

_LABEL_FROM_SHARE = 0.055
"""A segment narrower than this share of the request has no room for its name."""

_TICK_SIDES: tuple[Literal["left", "center", "right"], ...] = ("left", "center", "right")
"""The lens' first and last tick label stay inside it."""

_NAME_SHARE_A_LETTER = 0.011
"""Share of the bar that one letter of a name takes."""

_LABEL_LINE = 0.074
"""Height of a label's line as a share of the right panel."""

_KEY_LINE_IN, _KEY_SIGN_IN = 0.165, 0.1
"""Height of a line of the key, and width of its coloured sign."""

_NOTE_LINE_IN, _NOTE_GAP_IN = 0.165, 0.12
"""Height of a line of the note, and the space above it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The sentences around the two panels."""

    left: str
    """Title of the left panel: what the request says."""
    right: str
    """Title of the right panel: what the database says."""
    gap: str
    """What the distance between the arms means, such as ``20× fewer``; may be empty."""
    queries: str
    """What is counted on the right, such as ``SELECT personalities per second``."""
    note: tuple[str, ...]
    """n, interval, what was emulated: a sentence each."""


def figure(
    shares: pd.DataFrame, load: pd.DataFrame, words: Words, *, narrow: bool = False
) -> Figure:
    """Draw the headline.

    Parameters
    ----------
    shares
        One row an arm and operation, in the order in which they are drawn: ``arm``, ``operation``,
        ``share`` with ``low`` and ``high`` (of 1; null without interval), ``request_ms`` (the
        arm's mean request) and ``cached`` (bool: the operation in question).
    load
        One row a series and rate: ``series`` (an arm's name or ``predicted``), ``rate_per_s``,
        ``queries_per_s``, ``low``, ``high``.
    words
        Titles and note.
    narrow
        Stack the panels, for a phone.
    """
    shape = _NARROW if narrow else _WIDE
    note = [line for text in words.note for line in textwrap.wrap(text, shape.note_letters)]
    foot = _NOTE_LINE_IN * len(note) + (_NOTE_GAP_IN if note else 0.0)
    canvas = style.canvas(shape.body_in + foot, narrow=narrow, width_in=shape.width_in)
    bars, lens, lines = (canvas.add_axes(shape.place(panel, foot)) for panel in shape.panels)
    arms = list(dict.fromkeys(shares["arm"]))
    _draw_bars(bars, shares, arms)
    if shares["cached"].any():
        _draw_lens(lens, bars, shares, arms)
    else:
        lens.set_axis_off()
    _name_the_rest(canvas, bars, shares, arms[0])
    _draw_load(lines, load, arms, words)
    _write_title(canvas, words.left, shape, shape.titles[0], foot)
    _write_title(canvas, words.right, shape, shape.titles[1], foot)
    look: dict[str, Any] = {"fontsize": style.SMALL_PT, "color": style.MUTED, "linespacing": 1.45}
    canvas.text(shape.titles[0][0], 0.012, "\n".join(note), va="bottom", **look)
    return canvas


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """Where things stand; fractions are of the width and of the body, the part above the note."""

    body_in: float
    width_in: float
    panels: tuple[tuple[float, float, float, float], ...]
    """Bars, lens, lines: left, bottom, width, height."""
    titles: tuple[tuple[float, float], ...]
    """Left and top of each title."""
    title_letters: int
    title_pt: float
    note_letters: int

    def place(
        self, panel: tuple[float, float, float, float], foot_in: float
    ) -> tuple[float, float, float, float]:
        """A panel's place in the whole figure, note included."""
        left, bottom, width, height = panel
        whole = self.body_in + foot_in
        return (
            left,
            (foot_in + bottom * self.body_in) / whole,
            width,
            height * self.body_in / whole,
        )


_WIDE = _Shape(
    body_in=3.95,
    width_in=9.4,
    panels=((0.008, 0.533, 0.49, 0.319), (0.008, 0.089, 0.49, 0.239), (0.61, 0.089, 0.26, 0.752)),
    titles=((0.008, 0.98), (0.61, 0.98)),
    title_letters=60,
    title_pt=style.TITLE_PT,
    note_letters=150,
)

_NARROW = _Shape(
    body_in=7.4,
    width_in=style.NARROW_IN,
    panels=((0.02, 0.745, 0.96, 0.176), (0.02, 0.518, 0.96, 0.119), (0.09, 0.054, 0.61, 0.293)),
    titles=((0.02, 0.985), (0.02, 0.435)),
    title_letters=34,
    title_pt=style.TITLE_PT - 1,
    note_letters=48,
)


def _write_title(
    canvas: Figure, text: str, shape: _Shape, place: tuple[float, float], foot_in: float
) -> None:
    """A panel's title: what it says, in one line on a desk screen."""
    left, top = place
    canvas.text(
        left,
        (foot_in + top * shape.body_in) / (foot_in + shape.body_in),
        textwrap.fill(text, shape.title_letters),
        fontsize=shape.title_pt,
        fontweight="bold",
        color=style.INK,
        va="top",
        linespacing=1.3,
    )


def _draw_bars(axes: Axes, shares: pd.DataFrame, arms: list[str]) -> None:
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


def _name_the_rest(canvas: Figure, bars: Axes, shares: pd.DataFrame, arm: str) -> None:
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


def _draw_lens(axes: Axes, bars: Axes, shares: pd.DataFrame, arms: list[str]) -> None:
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
    head = f"{cached['operation'].iloc[0]}, enlarged {round(1 / reach)} times"
    axes.text(reach * 0.01, 0.54, head, va="bottom", fontsize=style.SMALL_PT, color=style.MUTED)
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
    look: dict[str, Any] = {"color": style.INK, "va": "center", "fontweight": "bold"}
    axes.text(start + reach * 0.02, -row, text, fontsize=style.SMALL_PT + 0.5, **look)


def _lens_reach(largest: float) -> float:
    """The share under the lens: the next 1, 2 or 5 that leaves room for a label."""
    wanted = max(largest * 1.7, 1e-6)
    power = 10.0 ** math.floor(math.log10(wanted))
    return min(next(step * power for step in (1, 2, 5, 10) if step * power >= wanted), 1.0)


def _draw_load(axes: Axes, load: pd.DataFrame, arms: list[str], words: Words) -> None:
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
        words.queries,
        transform=axes.transAxes,
        fontsize=style.SMALL_PT,
        color=style.MUTED,
    )
    _label_ends(axes, ends, right * 1.13, top)
    if words.gap and len(gap_ends) > 1:
        _mark_gap(axes, gap_ends[0].value, gap_ends[1].value, right * 1.06, words.gap)


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
    text = f"{style.arm_label(arm)}\n{formatting.point(value, low, high, 'per_s')}"
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
    places = labels.spread([end.value for end in ordered], heights)
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
