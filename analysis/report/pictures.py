"""A document's drawings as SVG and PNG, each drawn once at either width."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess

from analysis.document.document import Document, Drawing
from analysis.drawing import style, titles

Titled = tuple[Drawing, tuple[str, str]]
"""A drawing, and the two sentences over it where it stands alone."""

MOST_PROCESSES = 4
"""Fifteen figures are drawn in under a second by so many; more only cost their start."""

MOST_TICKETS = 256
"""Figures that a byte can number; a report has about fifteen."""


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
    """Draw everything, by the drawings' names; by default with as many processes as cores."""
    drawings = document.titled_drawings()
    wanted = _cores() if processes is None else processes
    others = min(wanted, MOST_PROCESSES, len(drawings)) - 1
    if others < 1 or len(drawings) > MOST_TICKETS or not _may_fork():
        drawn = [_pictures(*titled) for titled in drawings]
    else:
        drawn = _drawn_together(drawings, others)
    return {drawing.name: one for (drawing, _), one in zip(drawings, drawn, strict=True)}


def _cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _may_fork() -> bool:
    """Whether a process may be forked: a drawing is a closure over its tables, not to be sent.

    On macOS the system's own libraries do not bear it.
    """
    return sys.platform == "linux"


def _drawn_together(drawings: Sequence[Titled], others: int) -> list[Pictures]:
    """Draw here and in forked processes, each taking the next figure when it is done with one.

    The tickets, a byte a figure, lie in a pipe: the system hands each to exactly one reader, and
    nobody holds a lock that a killed process would keep.
    """
    tickets, giver = os.pipe()
    os.write(giver, bytes(range(len(drawings))))
    os.close(giver)
    gc.freeze()  # a collection in a forked process would copy every page it looks at
    try:
        started = [_started(drawings, tickets) for _ in range(others)]
        drawn = _drawn_by_ticket(drawings, tickets)
        for process, results in started:
            with contextlib.suppress(EOFError, OSError):  # killed; what it had is drawn below
                drawn |= results.recv()
            results.close()
            process.join()
    finally:
        gc.unfreeze()
        os.close(tickets)
    return [
        drawn[place] if place in drawn else _pictures(*titled)
        for place, titled in enumerate(drawings)
    ]


def _started(drawings: Sequence[Titled], tickets: int) -> tuple[ForkProcess, Connection]:
    """A forked process that draws, and where its drawings will come from."""
    forked = multiprocessing.get_context("fork")
    results, sender = forked.Pipe(duplex=False)
    process = forked.Process(target=_draw_and_send, args=(drawings, tickets, sender), daemon=True)
    process.start()
    sender.close()
    return process, results


def _draw_and_send(drawings: Sequence[Titled], tickets: int, sender: Connection) -> None:
    """In a forked process: draw as long as there are tickets, then send all at once."""
    sender.send(_drawn_by_ticket(drawings, tickets))


def _drawn_by_ticket(drawings: Sequence[Titled], tickets: int) -> dict[int, Pictures]:
    """Draw the next figure until none is left."""
    drawn = {}
    while ticket := os.read(tickets, 1):
        drawn[ticket[0]] = _pictures(*drawings[ticket[0]])
    return drawn


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
