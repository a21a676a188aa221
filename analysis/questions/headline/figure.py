"""The headline: one request's time on the left, the database's load on the right.

Left, one bar per arm, all grey but the cached operation, and a lens over its beginning, because
what is 0.3 % of a request can be seen in no other way and must not be drawn larger than it is.
Right, database queries per second against the offered rate, measured in both arms and predicted
from the hit rate alone. Colour means the arm in both.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from analysis.drawing import style
from analysis.questions.headline import load_panel, request_panel
from analysis.questions.headline.load_panel import Line
from analysis.questions.headline.request_panel import Bar

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the two panels show."""

    bars: tuple[Bar, ...]
    """One per arm."""
    measured: tuple[Line, ...]
    """One per arm, in the order of the bars."""
    predicted: Line | None
    """What the hit rate alone predicts, if it predicts anything."""


def figure(shown: Shown, words: Words, *, narrow: bool = False) -> Figure:
    """Draw the headline; ``narrow`` stacks the panels, for a phone."""
    shape = _NARROW if narrow else _WIDE
    note = [line for text in words.note for line in textwrap.wrap(text, shape.note_letters)]
    foot = _NOTE_LINE_IN * len(note) + (_NOTE_GAP_IN if note else 0.0)
    canvas = style.canvas(shape.body_in + foot, narrow=narrow, width_in=shape.width_in)
    bars, lens, lines = (canvas.add_axes(shape.place(panel, foot)) for panel in shape.panels)
    request_panel.draw_bars(bars, shown.bars)
    if any(bar.cached for bar in shown.bars):
        request_panel.draw_lens(lens, bars, shown.bars)
    else:
        lens.set_axis_off()
    request_panel.name_the_rest(canvas, bars, shown.bars[0])
    load_panel.draw_load(
        lines, shown.measured, shown.predicted, counted=words.queries, gap=words.gap
    )
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
