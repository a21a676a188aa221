"""Shared loads, and what becomes of them when callers leave."""

from __future__ import annotations

import asyncio

import pytest

from reference_service.resilience.single_flight import Landed, SingleFlight


async def test_all_callers_share_one_load() -> None:
    """A hundred callers of one key cause one load; another key has its own."""
    flights: SingleFlight[str, str] = SingleFlight()
    loads: list[str] = []

    async def load(key: str) -> str:
        loads.append(key)
        await asyncio.sleep(0.01)
        return key.upper()

    landed = await asyncio.gather(
        *(flights.run(key, lambda key=key: load(key)) for key in ["a"] * 100 + ["b"])
    )

    assert ["a", "b"] == loads
    assert ["A"] * 100 + ["B"] == [one.value for one in landed]
    assert 99 == sum(one.joined for one in landed)
    assert 0 == flights.in_flight


async def test_a_cancelled_first_caller_takes_nobody_along() -> None:
    """The caller who began the load is cancelled; the nine others get their value."""
    flights: SingleFlight[str, int] = SingleFlight()
    gate = asyncio.Event()

    async def load() -> int:
        await gate.wait()
        return 42

    callers = [asyncio.create_task(flights.run("k", load)) for _ in range(10)]
    await asyncio.sleep(0)
    callers[0].cancel()
    await asyncio.sleep(0)
    gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)

    assert isinstance(results[0], asyncio.CancelledError)
    assert [42] * 9 == [one.value for one in results[1:] if not isinstance(one, BaseException)]


async def test_a_load_that_has_ended_is_not_joined() -> None:
    """Who asks in the moment after a load's end, before it is cleared away, has a new one."""
    flights: SingleFlight[str, int] = SingleFlight()
    late: list[asyncio.Task[Landed[int]]] = []
    loads = 0

    async def load() -> int:
        nonlocal loads
        loads += 1
        if not late:  # runs right after this load's end
            late.append(asyncio.create_task(flights.run("k", load)))
        return loads

    first = await flights.run("k", load)
    second = await late[0]

    assert (Landed(1, joined=False), Landed(2, joined=False)) == (first, second)


async def test_a_load_whose_callers_have_all_left_still_ends() -> None:
    """The value is loaded to the end, so that the cache is filled for the next."""
    flights: SingleFlight[str, int] = SingleFlight()
    ended = asyncio.Event()

    async def load() -> int:
        await asyncio.sleep(0.01)
        ended.set()
        return 1

    caller = asyncio.create_task(flights.run("k", load))
    await asyncio.sleep(0)
    caller.cancel()
    await flights.wait()

    assert ended.is_set()
    assert 0 == flights.in_flight


async def test_a_failure_reaches_every_caller_and_is_not_kept() -> None:
    """All who wait get the error; who comes later starts a new load."""
    flights: SingleFlight[str, int] = SingleFlight()

    async def fail() -> int:
        await asyncio.sleep(0)
        raise LookupError("gone")

    async def succeed() -> int:
        return 1

    results = await asyncio.gather(
        *(flights.run("k", fail) for _ in range(3)), return_exceptions=True
    )
    assert [LookupError] * 3 == [type(one) for one in results]
    assert 1 == (await flights.run("k", succeed)).value


async def test_a_failure_nobody_waits_for_is_not_an_unseen_error() -> None:
    """Asyncio has nothing to complain about when the load of a vanished caller fails."""
    flights: SingleFlight[str, int] = SingleFlight()
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    async def fail() -> int:
        await asyncio.sleep(0.001)
        raise LookupError("gone")

    caller = asyncio.create_task(flights.run("k", fail))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await asyncio.sleep(0.01)

    assert [] == complaints
