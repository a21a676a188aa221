"""A personality's writes and the caches: when Redis failed, and when nobody knows the outcome."""

from __future__ import annotations

import asyncio

import pytest

from reference_service.errors import ServiceError
from reference_service.models import PersonalityConfig
from reference_service.request_state import REQUEST, RequestState
from reference_service.resilience.circuit_breaker import FAILURES_TO_OPEN
from reference_service.services.personality_cache import PersonalityCache
from reference_service.services.personality_writes import PersonalityWrites
from reference_service.telemetry.metrics import CacheMetrics
from tests.support.servers.chat_servers import ChatServers

pytestmark = pytest.mark.integration


def _config(archetype: str) -> PersonalityConfig:
    return PersonalityConfig(archetype=archetype, system_prompt="You are written.")


async def test_a_write_of_unknown_outcome_keeps_old_rows_out_of_the_cache(
    servers: ChatServers,
) -> None:
    """PostgreSQL freezes, the client gives up, and the write is carried out afterwards."""
    name = "unknown-outcome"
    async with servers.parts(
        redis_enabled=True,
        db_statement_timeout_ms=300,
        db_pool_timeout_seconds=0.3,
        db_pool_max=1,
        db_pool_min=1,
    ) as (parts, _):
        cache = parts.personalities.cache
        assert cache is not None
        old = await parts.personalities.put(name, _config("old"))
        servers.postgres.pause()
        try:
            with pytest.raises(ServiceError):
                await parts.personalities.put(name, _config("new"))
            taken = await cache.fill(name, old)
        finally:
            servers.postgres.resume()
        stored = await _archetype(servers, name, "new")
        found = await _lookup(servers, name)

    assert (False, "new", "new") == (taken, stored, found)


async def _archetype(servers: ChatServers, name: str, expected: str) -> str:
    """Return what PostgreSQL has, as soon as it is the expected one."""
    found = ""
    for _ in range(50):
        [(found,)] = servers.rows("SELECT archetype FROM personalities WHERE name = %s", name)
        if found == expected:
            break
        await asyncio.sleep(0.1)
    return found


async def _lookup(servers: ChatServers, name: str) -> str:
    async with servers.parts(redis_enabled=True) as (other, _):
        return (await other.personalities.get_personality(name)).archetype


async def test_the_end_of_a_write_is_told_although_redis_failed_the_request(
    servers: ChatServers,
) -> None:
    """The request has met a Redis that failed; other processes must not read the old entry."""
    name = "failed-before"
    async with servers.parts(redis_enabled=True) as (parts, _):
        await parts.personalities.put(name, _config("old"))
        await parts.personalities.get_personality(name)
        token = REQUEST.set(RequestState(redis_failed=True))
        try:
            await parts.personalities.put(name, _config("new"))
        finally:
            REQUEST.reset(token)
        pending = parts.personalities.invalidations_pending
        found = await _lookup(servers, name)

    assert (0, "new") == (pending, found)


async def test_a_process_keeps_off_the_entry_of_a_write_it_could_not_announce(
    servers: ChatServers,
) -> None:
    """From before the commit, not only from the failed invalidation on."""
    async with servers.parts(redis_enabled=True, redis_timeout_ms=200) as (parts, _):
        cache = parts.personalities.cache
        assert isinstance(cache, PersonalityCache)
        writes = PersonalityWrites(cache, CacheMetrics(parts.instruments, "personality"))
        untold = []
        servers.redis.pause()
        try:
            async with writes.announced("unannounced") as write:
                untold.append(writes.untold("unannounced"))
                servers.redis.resume()
                await asyncio.sleep(0.6)  # two rounds of repairs
                untold.append(writes.untold("unannounced"))
                write.row_version = 1
        finally:
            servers.redis.resume()
        for _ in range(30):
            if not len(writes):
                break
            await asyncio.sleep(0.1)
        untold.append(writes.untold("unannounced"))
        await writes.close()

    assert [True, True, False] == untold


async def test_a_stopping_process_tells_redis_of_its_last_write(servers: ChatServers) -> None:
    """The breaker closes a moment before the process ends: the old entry goes with it."""
    name = "last-write"
    async with servers.parts(redis_enabled=True) as (parts, _):
        assert parts.redis is not None
        await parts.personalities.put(name, _config("old"))
        await parts.personalities.get_personality(name)
        for _ in range(FAILURES_TO_OPEN):
            parts.redis.breaker.failed()
        await parts.personalities.put(name, _config("new"))
        parts.redis.breaker.succeeded()
        await parts.personalities.close()
    found = await _lookup(servers, name)

    assert "new" == found
