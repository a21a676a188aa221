"""A document's drawings as SVG and PNG, each drawn once at either width."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from analysis.document.document import Document, Drawing
from analysis.drawing import style, titles

Titled = tuple[Drawing, tuple[str, str]]
"""A drawing, and the two sentences over it where it stands alone."""

MOST_PROCESSES = 4
"""Fifteen figures are drawn in under a second by so many; more only cost their start."""


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


def pictures(document: Document, *, processes: int | None = None) -> Mapping[str, Pictures]:
    """Draw everything, by the drawings' names; by default with as many processes as cores.

    A drawing is a closure over its rows and cannot be sent to another process, but a forked one
    has it already. macOS' own libraries do not bear a fork: there one process draws all.
    """
    drawings = document.titled_drawings()
    wanted = min(os.cpu_count() or 1, MOST_PROCESSES) if processes is None else processes
    may_fork = sys.platform == "linux"
    drawn = None
    if may_fork and wanted > 1 and len(drawings) > 1:
        drawn = _drawn_together(drawings, wanted)
    if drawn is None:
        drawn = [_pictures(*titled) for titled in drawings]
    return {drawing.name: one for (drawing, _), one in zip(drawings, drawn, strict=True)}


def _drawn_together(drawings: Sequence[Titled], processes: int) -> list[Pictures] | None:
    """Draw in forked processes; None when one was killed, for want of memory say."""
    fork = multiprocessing.get_context("fork")
    try:
        with ProcessPoolExecutor(
            processes, mp_context=fork, initializer=_HERE.extend, initargs=(drawings,)
        ) as pool:
            return list(pool.map(_nth, range(len(drawings))))
    except BrokenProcessPool:
        return None


_HERE: list[Titled] = []
"""In a forked process: what there is to draw."""


def _nth(place: int) -> Pictures:
    return _pictures(*_HERE[place])


def _pictures(drawing: Drawing, title: tuple[str, str]) -> Pictures:
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
        svg=titles.over_svg(svg, *title),
        png=style.to_png(figure, above_in=titles.over_figure(figure, *title)),
    )
