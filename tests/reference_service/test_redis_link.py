"""Redis access: what is retried, how long callers queue, and what opens the breaker."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from reference_service.resilience.circuit_breaker import FAILURES_TO_OPEN, BreakerState
from reference_service.storage.redis_link import GET, SET, RedisLink, RedisUnavailableError, script
from tests.support.servers.chat_servers import ChatServers
from tests.support.servers.tcp_proxy import ServerWire, server_wire

pytestmark = pytest.mark.integration

TIMEOUT_SECONDS = 0.4
"""Ten times the service's own: a busy machine is not what is tried here."""

COUNT = script("return {redis.call('INCR', KEYS[1]), 0, 0}")


@asynccontextmanager
async def _linked(
    servers: ChatServers, connections: int = 1
) -> AsyncIterator[tuple[RedisLink, ServerWire]]:
    servers.redis_client().delete("counted", "read")
    async with server_wire(servers.redis.url) as wire:
        settings = {"redis_timeout_ms": TIMEOUT_SECONDS * 1000}
        async with servers.parts(
            redis_enabled=True, redis_url=wire.url, redis_max_connections=connections, **settings
        ) as (parts, _):
            assert parts.redis is not None
            await parts.redis.open()
            yield parts.redis, wire


async def test_a_write_whose_answer_was_lost_is_not_sent_again(servers: ChatServers) -> None:
    """Redis carried it out before the connection broke: twice would count a chat twice."""
    async with _linked(servers) as (redis, wire):
        await redis.run_script(COUNT, ("counted",))
        wire.cuts = 1
        with pytest.raises(RedisUnavailableError, match="ConnectionError"):
            await redis.run_script(COUNT, ("counted",))

    assert b"2" == servers.redis_client().get("counted")


async def test_a_read_whose_connection_broke_is_sent_again(servers: ChatServers) -> None:
    """A connection that breaks costs a reader nothing but the time."""
    async with _linked(servers) as (redis, wire):
        await redis.run(SET, "read", "it")
        wire.cuts = 1
        found = await redis.run(GET, "read")

    assert b"it" == found


async def test_sending_again_takes_no_second_deadline(servers: ChatServers) -> None:
    """The first try uses most of the time up; the second has what is left of it."""
    async with _linked(servers) as (redis, wire):
        wire.delay_seconds, wire.cuts = 0.7 * TIMEOUT_SECONDS, 1
        began = time.perf_counter()
        with pytest.raises(RedisUnavailableError, match="TimeoutError"):
            await redis.run(GET, "read")
        seconds = time.perf_counter() - began

    assert TIMEOUT_SECONDS <= seconds < 1.3 * TIMEOUT_SECONDS


async def test_connections_closed_while_idle_fail_no_write(servers: ChatServers) -> None:
    """After a restart of Redis the first commands are carried out, once, and nobody fails."""
    client = servers.redis_client()
    async with _linked(servers, connections=4) as (redis, _):
        await redis.run_script(COUNT, ("counted",))
        client.client_kill_filter(_type="normal", skipme=True)
        await asyncio.sleep(0.05)
        await asyncio.gather(*(redis.run_script(COUNT, ("counted",)) for _ in range(8)))
        state = redis.breaker.state

    assert (b"9", BreakerState.CLOSED) == (client.get("counted"), state)


async def test_the_queue_for_a_connection_is_within_the_deadline(servers: ChatServers) -> None:
    """Behind a slow Redis nobody waits longer than one deadline, nor takes it for a fault."""
    async with _linked(servers, connections=2) as (redis, wire):
        wire.delay_seconds = 0.75 * TIMEOUT_SECONDS

        async def timed() -> tuple[str, float]:
            began = time.perf_counter()
            try:
                await redis.run(GET, "read")
            except RedisUnavailableError as error:
                return error.reason, time.perf_counter() - began
            return "answered", time.perf_counter() - began

        found = await asyncio.gather(*(timed() for _ in range(40)))
        state = redis.breaker.state

    assert {"answered": 2, "busy": 38} == Counter(reason for reason, _ in found)
    assert max(seconds for _, seconds in found) < 1.3 * TIMEOUT_SECONDS
    assert BreakerState.CLOSED is state


async def test_a_redis_too_slow_for_its_queue_opens_the_breaker(servers: ChatServers) -> None:
    """Who got a place from the queue and no answer in the rest of the time has met a fault."""
    async with _linked(servers, connections=8) as (redis, wire):
        wire.delay_seconds = 0.75 * TIMEOUT_SECONDS

        async def keep_asking() -> None:
            while redis.breaker.allow():
                try:
                    await redis.run(GET, "read")
                except RedisUnavailableError:
                    await asyncio.sleep(0.01)

        await asyncio.wait_for(asyncio.gather(*(keep_asking() for _ in range(40))), 20)
        state = redis.breaker.state

    assert BreakerState.OPEN is state


async def test_behind_an_open_breaker_nobody_queues(servers: ChatServers) -> None:
    """All connections are in use and the breaker is open: the answer comes at once."""
    async with _linked(servers) as (redis, wire):
        wire.delay_seconds = 0.5 * TIMEOUT_SECONDS
        using = asyncio.create_task(redis.run(GET, "read"))
        await asyncio.sleep(0)
        for _ in range(FAILURES_TO_OPEN):
            redis.breaker.failed()
        began = time.perf_counter()
        with pytest.raises(RedisUnavailableError, match="breaker_open"):
            await redis.run(GET, "read")
        seconds = time.perf_counter() - began
        await using

    assert seconds < 0.1 * TIMEOUT_SECONDS
