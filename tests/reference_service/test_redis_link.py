"""Redis access: what is never sent twice, how long callers wait, and what opens the breaker."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from reference_service.resilience.circuit_breaker import FAILURES_TO_OPEN, BreakerState
from reference_service.storage.redis_link import GET, SET, RedisLink, RedisUnavailableError
from tests.support.servers.chat_servers import ChatServers
from tests.support.servers.tcp_proxy import ServerWire, server_wire

pytestmark = pytest.mark.integration

TIMEOUT_SECONDS = 0.4
"""Ten times the service's own: a busy machine is not what is tried here."""

COUNT = "return {redis.call('INCR', KEYS[1]), 0, 0}"


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


async def test_connections_closed_while_idle_fail_no_write(servers: ChatServers) -> None:
    """After a restart of Redis the first commands are carried out, once, and nobody fails."""
    client = servers.redis_client()
    async with _linked(servers, connections=4) as (redis, _):
        await asyncio.gather(*(redis.run_script(COUNT, ("counted",)) for _ in range(8)))
        client.client_kill_filter(_type="normal", skipme=True)
        await asyncio.sleep(0.05)
        await asyncio.gather(*(redis.run_script(COUNT, ("counted",)) for _ in range(8)))
        state = redis.breaker.state

    assert (b"16", BreakerState.CLOSED) == (client.get("counted"), state)


async def test_a_caller_who_leaves_breaks_no_connection(servers: ChatServers) -> None:
    """The reply is read to its end for nobody, and the next caller has the same connection."""
    client = servers.redis_client()
    async with _linked(servers) as (redis, wire):
        await redis.run(SET, "read", "mine")
        opened = client.info("stats")["total_connections_received"]
        wire.delay_seconds = 0.05
        for _ in range(3):
            leaving = asyncio.create_task(redis.run(GET, "counted"))
            await asyncio.sleep(0.02)
            leaving.cancel()
            assert b"mine" == await redis.run(GET, "read")
        after = client.info("stats")["total_connections_received"]

    assert opened == after


async def test_the_queue_for_a_connection_is_within_the_deadline(servers: ChatServers) -> None:
    """Behind a slow Redis nobody waits longer than one deadline, nor takes it for a fault."""
    async with _linked(servers, connections=2) as (redis, wire):
        await asyncio.gather(*(redis.run(GET, "read") for _ in range(2)))
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
