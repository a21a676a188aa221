"""Ctrl-C, SIGTERM and a closed terminal: the first says stop, the second gives up.

Only for the time that a loop runs. Before and after it SIGINT is Python's KeyboardInterrupt, the
others end the process, and the guard (`worthit.process.guard`) ends what was started.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import ParamSpec, TypeVar

ONE_PRESS_SECONDS = 1.0
"""A closed terminal's kernel and its shell both send SIGHUP, and wrappers such as `uv run` pass a
Ctrl-C on that the terminal has sent already: what comes within a second is one and the same."""

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def stop_on_signal(
    *, at_once: Callable[[], bool], give_up: Callable[[], None]
) -> Iterator[asyncio.Event]:
    """Turn the first signal into an event; the second cancels the task that entered this.

    Parameters
    ----------
    at_once
        Asked at the first signal: is there nothing worth an orderly end, so that it should already
        cancel?
    give_up
        Called before the task is cancelled, for what would make its end slow.

    A SIGHUP that `nohup` had set to be ignored stays ignored.
    """
    stop = asyncio.Event()
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    pressed_at = 0.0
    terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]

    def on_signal(signum: signal.Signals) -> None:
        nonlocal pressed_at
        if signum == signal.SIGHUP:
            _go_silent(terminals)
        first, again = not stop.is_set(), time.monotonic() - pressed_at > ONE_PRESS_SECONDS
        if first:
            pressed_at = time.monotonic()
            stop.set()
        if task is not None and (at_once() if first else again):
            give_up()
            task.cancel()

    handled = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        handled.append(signal.SIGHUP)
    for signum in handled:
        loop.add_signal_handler(signum, on_signal, signum)
    try:
        yield stop
    finally:
        for signum in handled:
            loop.remove_signal_handler(signum)


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As `asyncio.to_thread`, but a cancellation takes effect only when the thread has ended.

    No thread can be ended from outside: it would go on writing into a folder that its caller, told
    of the cancellation, is removing.
    """
    working = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        while not working.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({working})
        if not working.cancelled():
            working.exception()  # looked at: it is not told, the cancellation is
        raise


def _go_silent(terminals: list[int]) -> None:
    """Send what would go to a terminal nowhere: written to a closed one it is an error."""
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in terminals:
        os.dup2(null, descriptor)
    os.close(null)
