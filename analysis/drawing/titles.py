"""What stands over a figure that stands alone: its question, and the answer that it shows.

On the report's page both are text beside the figure; a picture that is sent to somebody takes
them along.
"""

from __future__ import annotations

import re
import textwrap
from html import escape
from typing import Any, Final

from matplotlib.figure import Figure

from analysis.drawing import style

_LINE_IN: Final = 0.19
"""Height of a line."""

_GAP_IN: Final = 0.2
"""Room between the words and the figure, and above them."""

_LETTERS_AN_INCH: Final = 13.0
"""Letters of the answer that fit into an inch of width."""

_PT_AN_INCH: Final = 72.0

_LEFT: Final = 0.008


def over_figure(figure: Figure, question: str, answer: str) -> float:
    """Write both above the figure's upper edge; gives the height in inches that they need."""
    if not question:
        return 0.0
    width, height = figure.get_size_inches()
    lines = _lines(answer, width)
    above = _height_in(lines)
    top = 1 + (above - _GAP_IN / 2) / height
    look: dict[str, Any] = {"color": style.INK, "va": "top"}
    figure.text(_LEFT, top, question, fontsize=style.TITLE_PT, fontweight="bold", **look)
    answered = 1 + (above - _GAP_IN / 2 - 1.35 * _LINE_IN) / height
    text = "\n".join(lines)
    figure.text(_LEFT, answered, text, fontsize=style.TEXT_PT, linespacing=1.35, **look)
    return above


def over_svg(svg: str, question: str, answer: str) -> str:
    """Put both above a stand-alone SVG, which grows by their height."""
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    if not question or size is None:
        return svg
    width, height = (float(one) for one in size.groups())
    lines = _lines(answer, width / _PT_AN_INCH)
    above = _height_in(lines) * _PT_AN_INCH
    step, left = _LINE_IN * _PT_AN_INCH, _LEFT * width
    look = f'x="{left:.1f}" font-family="DejaVu Sans, sans-serif" fill="{style.INK}"'
    first = -above + _GAP_IN / 2 * _PT_AN_INCH + style.TITLE_PT
    words = [_text(look, first, f'{style.TITLE_PT}" font-weight="bold', question)]
    words += [
        _text(look, first + (number + 1.3) * step, f"{style.TEXT_PT}", line)
        for number, line in enumerate(lines)
    ]
    ground = f'width="{width}" height="{above + 1:.1f}" fill="{style.SURFACE}"'
    words.insert(0, f'<rect y="{-above:.1f}" {ground}/>')
    svg = svg.replace(size.group(0), f'viewBox="0 {-above:.1f} {width} {height + above:.1f}"', 1)
    svg = re.sub(r'height="[\d.]+pt"', f'height="{height + above:.1f}pt"', svg, count=1)
    return svg.replace("</svg>", "".join([*words, "</svg>"]))


def _text(look: str, y: float, size: str, words: str) -> str:
    """A line of text of an SVG."""
    return f'<text {look} y="{y:.1f}" font-size="{size}">{escape(words)}</text>'


def _lines(answer: str, width_in: float) -> list[str]:
    """The answer in lines that fit."""
    return textwrap.wrap(answer, int(width_in * _LETTERS_AN_INCH))


def _height_in(lines: list[str]) -> float:
    """Height of question, answer and the room around them."""
    return (1.35 + len(lines)) * _LINE_IN + _GAP_IN
