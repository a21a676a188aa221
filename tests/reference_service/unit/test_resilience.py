"""Deadline, database gate, retry budget: what bounds waiting and retrying."""

from __future__ import annotations

import asyncio
import time

import pytest

from reference_service.errors import OverloadedError
from reference_service.resilience.database_gate import DatabaseGate
from reference_service.resilience.deadline import deadline
from reference_service.resilience.retry_budget import RetryBudget


async def test_a_deadline_ends_what_takes_too_long() -> None:
    """A body that hangs is ended with TimeoutError soon after the deadline."""
    began = time.perf_counter()
    with pytest.raises(TimeoutError):
        async with deadline(0.02):
            await asyncio.sleep(10)

    assert 0.02 <= time.perf_counter() - began < 1.0


async def test_a_deadline_does_not_blame_the_server_for_this_process() -> None:
    """A reply that arrived in time is taken although the process looked at it too late."""
    reply: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def read() -> str:
        async with deadline(0.02):
            return await reply

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.022, reply.set_result, "here")
    time.sleep(0.1)  # noqa: ASYNC251 - the process is held up, that is the point

    assert "here" == await reading


async def _busy(rounds: int) -> None:
    """Make so many rounds of the event loop long ones."""
    for _ in range(rounds):
        time.sleep(0.02)  # noqa: ASYNC251 - the process is busy, that is the point
        await asyncio.sleep(0)


async def test_a_busy_process_gives_each_step_of_a_call_its_round() -> None:
    """A call of 22 steps ends well although each of them waits for half the deadline."""
    busy = asyncio.create_task(_busy(25))

    async with deadline(0.04):
        for _ in range(22):
            await asyncio.sleep(0)

    await busy


async def test_a_process_that_is_always_late_gives_up_all_the_same() -> None:
    """What hangs is ended after a bounded number of long rounds."""
    busy = asyncio.create_task(_busy(1000))

    with pytest.raises(TimeoutError):
        async with deadline(0.04):
            await asyncio.sleep(10)

    assert not busy.done()
    busy.cancel()


async def test_a_cancelled_caller_sees_its_own_cancellation() -> None:
    """Cancelling the caller is not turned into a timeout."""

    async def wait() -> None:
        async with deadline(5):
            await asyncio.sleep(10)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_gate_bounds_places_and_queue() -> None:
    """Two places, one waiting: of five, two run, one follows, two are told to come back."""
    gate = DatabaseGate(places=2, max_waiting=1, wait_seconds=5)
    running = most = 0

    async def work() -> None:
        nonlocal running, most
        async with gate.place():
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1

    results = await asyncio.gather(*(work() for _ in range(5)), return_exceptions=True)

    assert 2 == most
    assert 2 == sum(isinstance(one, OverloadedError) for one in results)
    assert 3 == results.count(None)


async def test_waiting_at_the_gate_ends() -> None:
    """Who waits too long is shed, and the place is not lost."""
    gate = DatabaseGate(places=1, max_waiting=5, wait_seconds=0.01)
    async with gate.place():
        with pytest.raises(OverloadedError):
            async with gate.place():
                pass
    async with gate.place():
        pass


def test_retries_are_a_tenth_of_the_requests() -> None:
    """In an outage of a thousand requests the budget allows its reserve and a tenth more."""
    budget = RetryBudget()
    allowed = 0
    for _ in range(1000):
        budget.request()
        allowed += budget.may_retry()

    assert 105 <= allowed <= 110
