"""A document's drawings as SVG and PNG, each drawn once at either width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from analysis.figures import style
from analysis.report.document import Document, Drawing


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """One drawing in all the forms in which it is shown."""

    wide: str
    """SVG for inside a page on a desk screen."""
    narrow: str
    """SVG for inside a page on a phone."""
    svg: str
    """SVG file, alone."""
    png: bytes
    """PNG file, alone."""


def pictures(document: Document) -> Mapping[str, Pictures]:
    """Draw everything, by the drawings' names."""
    return {drawing.name: _pictures(drawing) for drawing in document.drawings()}


def _pictures(drawing: Drawing) -> Pictures:
    """One drawing: where the page's form may also stand alone, it is drawn once for both."""
    name = drawing.name
    figure = drawing.draw(narrow=False)
    svg = style.to_svg(figure, name)
    wide = style.page_svg(svg, f"{name}-w")
    if drawing.alone is not None:
        figure = drawing.alone(narrow=False)
        svg = style.to_svg(figure, name)
    narrow = style.to_svg(drawing.draw(narrow=True), f"{name}-n")
    return Pictures(
        wide=wide,
        narrow=style.page_svg(narrow, f"{name}-n"),
        svg=svg,
        png=style.to_png(figure),
    )
