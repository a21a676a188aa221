"""The figures drawn by one process and by several."""

from __future__ import annotations

import os
import re
import signal
import time

from matplotlib.figure import Figure

from analysis.document.document import Document, Drawing, Section
from analysis.drawing import style
from analysis.report.pictures import pictures

MINE = os.getpid()


def _document(*drawings: Drawing) -> Document:
    section = _section(drawings)
    return Document(run_id="r", question="?", verdict="VALID", reasons=(), sections=(section,))


def _section(drawings: tuple[Drawing, ...]) -> Section:
    return Section(key="s", question="", answer="", drawings=drawings)


def _line(name: str, height: float) -> Drawing:
    """A figure with its name at a height of its own."""

    def draw(*, narrow: bool) -> Figure:
        figure = style.canvas(1.0, narrow=narrow)
        figure.text(0.1, height, name)
        return figure

    return Drawing(name=name, alt=name, draw=draw)


def _whose(name: str) -> Drawing:
    """A figure that tells which process drew it."""

    def draw(*, narrow: bool) -> Figure:
        figure = style.canvas(1.0, narrow=narrow)
        time.sleep(0.02)
        figure.text(0.1, 0.1, f"drawn by {os.getpid()}")
        return figure

    return Drawing(name=name, alt=name, draw=draw)


def _deadly(name: str) -> Drawing:
    """A figure that kills whatever process draws it but this one."""

    def draw(*, narrow: bool) -> Figure:
        if os.getpid() != MINE:
            os.kill(os.getpid(), signal.SIGKILL)
        return style.canvas(1.0, narrow=narrow)

    return Drawing(name=name, alt=name, draw=draw)


def test_several_processes_draw_what_one_does() -> None:
    """The same bytes under the same names in the same order, however many draw."""
    document = _document(*(_line(f"line-{number}", number / 8) for number in range(8)))
    alone, together = pictures(document, processes=1), pictures(document, processes=2)

    assert list(alone.items()) == list(together.items())


def test_the_work_is_shared() -> None:
    """With two processes on figures that take a while, each draws some of them."""
    document = _document(*(_whose(f"one-{number}") for number in range(8)))
    drawn = pictures(document, processes=2).values()
    who = {number for one in drawn for number in re.findall(r"drawn by (\d+)", one.svg)}

    assert 2 == len(who)


def test_a_killed_process_costs_no_figure() -> None:
    """When a process is killed, for want of memory say, this one draws all the same."""
    document = _document(*(_deadly(f"one-{number}") for number in range(6)))

    assert len(pictures(document, processes=2)) == 6


def test_a_picture_alone_says_what_it_shows() -> None:
    """SVG file and PNG carry question and answer above the figure; the page has them as text."""
    answer = "It is " + "very " * 40 + "high."
    line = (_line("one", 0.5),)
    section = Section(key="s", question="How <high>?", answer=answer, drawings=line)
    bare = pictures(_document(_line("one", 0.5)), processes=1)["one"]
    whole = Document(run_id="r", question="?", verdict="VALID", reasons=(), sections=(section,))
    drawn = pictures(whole, processes=1)["one"]
    tall = [int.from_bytes(one.png[20:24]) for one in (bare, drawn)]  # IHDR's height

    assert "How &lt;high&gt;?" in drawn.svg
    assert "How" not in drawn.wide + drawn.narrow
    assert tall[1] > tall[0] + 2 * 0.19 * style.PNG_DPI
