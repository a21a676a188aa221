"""What is running, how far, how long still: on stderr, for a user who waits.

A bar where stderr is a terminal; elsewhere plain lines, one when something new begins and one
every `PLAIN_INTERVAL_S` seconds, so that a log of a run reads well.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

PLAIN_INTERVAL_S: Final = 10.0
"""Between two plain lines about the same thing: a minute's run is a handful of lines."""


class PlainLines:
    """One line when something new begins, and one every few seconds while it lasts."""

    def __init__(
        self, title: str, total_s: float, stream: TextIO, clock: Callable[[], float]
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._total_s = total_s
        self._doing = ""
        self._last_line_at = 0.0
        self._print(f"{title}: about {spell_seconds(total_s)}")

    def at(self, done_s: float, doing: str) -> None:
        """Say that `done_s` of the seconds are over, and what is being done now."""
        now = self._clock()
        what = doing.partition(",")[0]
        if what == self._doing and now - self._last_line_at < PLAIN_INTERVAL_S:
            return
        self._doing = what
        self._last_line_at = now
        share = min(99.0, 100 * done_s / self._total_s) if self._total_s else 0.0
        left = spell_seconds(max(0.0, self._total_s - done_s))
        self._print(f"{share:3.0f} %  {doing}  ({left} left)")

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


@contextmanager
def progress(title: str, total_s: float, *, quiet: bool) -> Iterator[Callable[[float, str], None]]:
    """Give the function that is told the seconds done and what is being done now."""
    if quiet:
        yield lambda _done_s, _doing: None
        return
    if not sys.stderr.isatty():
        yield PlainLines(title, total_s, sys.stderr, time.monotonic).at
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:3.0f} %"),
        TextColumn("{task.fields[left]}"),
        console=Console(file=sys.stderr),
        transient=True,
    ) as bar:
        task = bar.add_task(title, total=total_s, left="")

        def at(done_s: float, doing: str) -> None:
            left = f"{spell_seconds(max(0.0, total_s - done_s))} left"
            bar.update(task, completed=min(done_s, total_s * 0.99), description=doing, left=left)

        yield at


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
