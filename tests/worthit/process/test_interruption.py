"""Signals while something runs: what the first does, the second, and two that are one."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator

import pytest

from worthit.process import interruption
from worthit.process.interruption import in_thread, stop_on_signal

PRESS_SECONDS = 0.05


@pytest.fixture(autouse=True)
def _short_press(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes within this time counts once."""
    monkeypatch.setattr(interruption, "ONE_PRESS_SECONDS", PRESS_SECONDS)


@pytest.fixture(name="ignored_hangup")
def _ignored_hangup() -> Iterator[None]:
    """As `nohup` starts a command."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


async def press(signum: signal.Signals) -> None:
    """Send it to this process and let the loop hear of it."""
    os.kill(os.getpid(), signum)
    await asyncio.sleep(0.01)


async def work(given_up: list[str], *, at_once: bool, signals: list[signal.Signals]) -> bool:
    """Be sent signals, each a while after the one before; whether the first said stop."""
    with stop_on_signal(at_once=lambda: at_once, give_up=lambda: given_up.append("x")) as stop:
        for signum in signals:
            await press(signum)
            await asyncio.sleep(2 * PRESS_SECONDS)
        return stop.is_set()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_the_first_says_stop(signum: signal.Signals) -> None:
    """Ctrl-C, SIGTERM and a closed terminal ask for an orderly end and cancel nothing."""
    given_up: list[str] = []

    assert await work(given_up, at_once=False, signals=[signum])
    assert given_up == []


async def test_the_second_gives_up() -> None:
    """Whoever presses again does not want to wait: the work is cancelled."""
    given_up: list[str] = []
    task = asyncio.create_task(work(given_up, at_once=False, signals=[signal.SIGINT] * 2))

    with pytest.raises(asyncio.CancelledError):
        await task
    assert given_up == ["x"]


async def test_where_nothing_is_worth_an_orderly_end_the_first_gives_up() -> None:
    """Before anything was measured there is nothing to wait for."""
    given_up: list[str] = []
    task = asyncio.create_task(work(given_up, at_once=True, signals=[signal.SIGTERM]))

    with pytest.raises(asyncio.CancelledError):
        await task
    assert given_up == ["x"]


async def test_two_at_once_are_one() -> None:
    """A shell and its terminal both tell of its end, and wrappers pass a Ctrl-C on: no second."""
    given_up: list[str] = []
    with stop_on_signal(at_once=lambda: False, give_up=lambda: given_up.append("x")) as stop:
        await press(signal.SIGHUP)
        await press(signal.SIGHUP)

        assert stop.is_set()
    assert given_up == []


@pytest.mark.usefixtures("ignored_hangup")
async def test_nohup_is_heeded() -> None:
    """A command started with nohup does not hear the terminal close."""
    assert not await work([], at_once=False, signals=[signal.SIGHUP])


async def test_afterwards_signals_mean_what_they_mean_to_python() -> None:
    """The handlers go with the work: Ctrl-C is a KeyboardInterrupt again, SIGTERM the end."""
    await work([], at_once=False, signals=[])

    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_a_thread_is_not_left_writing() -> None:
    """Whoever is cancelled hears of it when the thread has ended, however often it is tried."""
    written: list[str] = []

    def write() -> None:
        time.sleep(0.2)
        written.append("done")

    task = asyncio.create_task(in_thread(write))
    for _ in range(2):
        await asyncio.sleep(0.02)
        task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert written == ["done"]


async def test_a_threads_answer_and_error_come_through() -> None:
    """What the thread gives or raises is the caller's."""
    assert await in_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 7, 0)
