"""What is running, how far, how long still: on stderr, for a user who waits.

A bar where stderr is a terminal; elsewhere plain lines, one when something new begins and one
every `PLAIN_INTERVAL_S` seconds, so that a log of a run reads well.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from typing_extensions import override

PLAIN_INTERVAL_S: Final = 10.0
"""Between two plain lines about the same thing: a minute's run is a handful of lines."""


class Progress(Protocol):
    """Where a run says what it is doing."""

    def begin(self, title: str, total_s: float) -> None:
        """Start: what is run, and about how many seconds it takes."""

    def at(self, done_s: float, doing: str) -> None:
        """Say that `done_s` of the seconds are over, and what is being done now."""

    def end(self) -> None:
        """Stop showing anything; harmless when called twice."""


class Silence(Progress):
    """Says nothing: for tests, and for callers that have their own way to wait."""

    @override
    def begin(self, title: str, total_s: float) -> None:
        pass

    @override
    def at(self, done_s: float, doing: str) -> None:
        pass

    @override
    def end(self) -> None:
        pass


class PlainLines(Progress):
    """One line when something new begins, and one every few seconds while it lasts."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._clock = clock
        self._total_s = 0.0
        self._doing = ""
        self._last_line_at = 0.0

    @override
    def begin(self, title: str, total_s: float) -> None:
        self._total_s = total_s
        self._print(f"{title}: about {spell_seconds(total_s)}")

    @override
    def at(self, done_s: float, doing: str) -> None:
        now = self._clock()
        what = doing.partition(",")[0]
        if what == self._doing and now - self._last_line_at < PLAIN_INTERVAL_S:
            return
        self._doing = what
        self._last_line_at = now
        share = min(99.0, 100 * done_s / self._total_s) if self._total_s else 0.0
        left = spell_seconds(max(0.0, self._total_s - done_s))
        self._print(f"{share:3.0f} %  {doing}  ({left} left)")

    @override
    def end(self) -> None:
        pass

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class Bar(Progress):
    """A bar with what is being done and the time left."""

    def __init__(self, stream: TextIO) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:3.0f} %"),
            TextColumn("{task.fields[left]}"),
            console=Console(file=stream),
            transient=True,
        )
        self._task: TaskID | None = None
        self._total_s = 0.0

    @override
    def begin(self, title: str, total_s: float) -> None:
        self._total_s = total_s
        self._task = self._bars.add_task(title, total=total_s, left="")
        self._bars.start()

    @override
    def at(self, done_s: float, doing: str) -> None:
        if self._task is None:
            return
        left = f"{spell_seconds(max(0.0, self._total_s - done_s))} left"
        share = min(done_s, self._total_s * 0.99)
        self._bars.update(self._task, completed=share, description=doing, left=left)

    @override
    def end(self) -> None:
        if self._task is not None:
            self._bars.stop()
            self._task = None


def progress_on(
    stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
) -> Progress:
    """Give the way of showing progress that fits `stream` (stderr if absent)."""
    stream = stream or sys.stderr
    return Bar(stream) if stream.isatty() else PlainLines(stream, clock)


def spell_seconds(seconds: float) -> str:
    """Spell a duration as a waiting user wants it: ``40 s``, ``3 min 50 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - seconds in a minute
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004 - minutes in an hour
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
