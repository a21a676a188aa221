"""The service while Redis or PostgreSQL is refused, frozen, killed: real faults."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial

import httpx
import psycopg
import pytest

from benchmarks.support.faults import ALL_CACHES, Fault, faults, postgres_outage
from tests.support.servers.chat_servers import ChatServers
from worthit.environment.service import Service

pytestmark = pytest.mark.integration

AWAY_SECONDS = 4.0
"""Of PostgreSQL."""


@pytest.fixture(name="service", scope="module")
def _service(servers: ChatServers) -> AsyncIterator[Service]:  # type: ignore[misc]  # a plain generator
    with servers.service(**ALL_CACHES) as service:
        yield service


async def _chat(client: httpx.AsyncClient, user: str, key: str | None = None) -> httpx.Response:
    headers = {"X-User-Id": user} | ({"Idempotency-Key": key} if key else {})
    body = {"message": "Hi", "personality_name": "elara"}
    return await client.post("/chat", json=body, headers=headers)


async def _timed_chats(client: httpx.AsyncClient, count: int) -> tuple[Counter[int], list[float]]:
    """Chat one after the other; return statuses and seconds."""
    statuses: Counter[int] = Counter()
    seconds = []
    for index in range(count):
        began = time.perf_counter()
        statuses[(await _chat(client, f"u{index % 20:05d}")).status_code] += 1
        seconds.append(time.perf_counter() - began)
    return statuses, seconds


async def _state(client: httpx.AsyncClient) -> str:
    return str((await client.get("/readyz")).json()["redis"])


async def _until_closed(client: httpx.AsyncClient) -> None:
    for index in range(100):
        await _chat(client, f"u{index % 20:05d}")
        if await _state(client) == "closed":
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the breaker did not close")


@pytest.mark.parametrize("fault", ["hung", "refused"])
async def test_no_chat_fails_while_redis_is_away(
    servers: ChatServers, service: Service, fault: str
) -> None:
    """Redis frozen or gone: every chat is answered; the breaker opens and closes by itself."""
    async with httpx.AsyncClient(base_url=service.url, timeout=10) as client:
        await _until_closed(client)
        _, normal = await _timed_chats(client, 30)
        if fault == "hung":
            servers.redis.pause()
        else:
            servers.call(servers.redis.stop())
        try:
            statuses, during = await _timed_chats(client, 60)
            state = await _state(client)
        finally:
            if fault == "hung":
                servers.redis.resume()
            else:
                servers.call(servers.redis.start())
        await _until_closed(client)
        after, _ = await _timed_chats(client, 10)

    assert ({200: 60}, {200: 10}) == (statuses, after)
    assert state in {"open", "half_open"}
    # One wait of 45 ms for each of the five failures that open the breaker; after that the probes
    # are nobody's request, and every chat costs what it did before.
    slow = [one for one in during if one > _median(normal) + 0.040]
    hiccups = [one for one in normal if one > _median(normal) + 0.040]
    assert len(slow) <= 5 + 3 + 2 * len(hiccups)  # twice as many chats as in the control
    assert _median(during[10:]) < 2 * _median(normal) + 0.030


async def test_at_most_one_probe_a_second_while_open(
    servers: ChatServers, service: Service
) -> None:
    """However many chat, a Redis that is away is asked once a second, and by none of them."""
    async with httpx.AsyncClient(base_url=service.url, timeout=10) as client:
        await _until_closed(client)
        before = _pings(servers)
        servers.redis.pause()
        began = time.perf_counter()
        try:
            while time.perf_counter() - began < 2.5:
                await asyncio.gather(*(_chat(client, f"u{index:05d}") for index in range(10)))
        finally:
            away = time.perf_counter() - began
            servers.redis.resume()
        await _until_closed(client)
        probes = _pings(servers) - before

    # Only probes are PINGs; the last one, which closed the breaker, came after Redis's return.
    assert 1 <= probes <= away + 2


def _pings(servers: ChatServers) -> int:
    """Return Redis's own count: what came while it was frozen it has read by its return."""
    stats = servers.redis_client().info("commandstats")
    return int(stats.get("cmdstat_ping", {"calls": 0})["calls"])


@pytest.mark.parametrize("fault", ["frozen", "stopped"])
async def test_postgres_away_for_seconds(
    servers: ChatServers, service: Service, fault: str
) -> None:
    """Cached personalities are served on, chats get 503 with Retry-After, then all is well."""
    away, back = faults(servers.postgres, frozen=fault == "frozen")

    async def on_their_loop(change: Fault) -> None:
        await asyncio.to_thread(lambda: servers.call(change()))

    async with httpx.AsyncClient(base_url=service.url, timeout=10) as client:
        _, normal = await _timed_chats(client, 10)
        found = await postgres_outage(
            client, partial(on_their_loop, away), partial(on_their_loop, back), AWAY_SECONDS
        )

    assert ({200}, 503) == (set(found.cached), found.ready)
    assert found.chats.keys() <= {200, 503}
    assert found.chats[503] > 10
    assert 0 == found.without_retry_after
    # 1 s is the aim; the rest is what this machine needs for a chat when all is well
    assert found.recovery_seconds < 1.5 + 5 * max(normal)


async def test_acknowledged_turns_are_stored_once_through_killed_backends(
    servers: ChatServers, service: Service
) -> None:
    """Backends are terminated all the time; each acknowledged turn is there once."""
    acknowledged: dict[str, int] = {}
    done = asyncio.Event()

    async def kill() -> None:
        killer = await psycopg.AsyncConnection.connect(servers.postgres.url(), autocommit=True)
        async with killer:
            while not done.is_set():
                await killer.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'reference_service'"
                )
                await asyncio.sleep(0.15)

    async with httpx.AsyncClient(base_url=service.url, timeout=10) as client:

        async def converse(user: str) -> None:
            for index in range(8):
                for _ in range(60):
                    answer = await _chat(client, user, f"key-{index}")
                    assert answer.status_code in {200, 503}
                    if answer.status_code == 200:
                        acknowledged[f"{user}:key-{index}"] = answer.json()["turn_id"]
                        break
                    await asyncio.sleep(0.02)

        killing = asyncio.create_task(kill())
        await asyncio.gather(*(converse(f"killed-{index}") for index in range(6)))
        done.set()
        await killing
    stored = servers.rows(
        "SELECT user_id || ':' || idempotency_key, id FROM turns WHERE user_id LIKE 'killed-%%'"
    )
    assert 48 == len(acknowledged)
    assert acknowledged == dict(stored)
    assert len(stored) == len(dict(stored))


async def test_the_conversation_buffer_never_lacks_a_turn(
    servers: ChatServers, service: Service
) -> None:
    """A turn that Redis could not take is not missing from the buffer later."""
    user = "buffered"
    async with httpx.AsyncClient(base_url=service.url, timeout=10) as client:
        await _until_closed(client)
        for _ in range(2):
            await _chat(client, user)
        servers.redis.pause()
        try:
            for _ in range(2):
                await _chat(client, user)
        finally:
            servers.redis.resume()
        await _until_closed(client)
        await asyncio.sleep(0.6)
        await _chat(client, user)
        await _chat(client, user)

    [key] = servers.redis_client().keys(f"conversation:{user}:*:turns")
    buffered = [json.loads(entry)[2] for entry in servers.redis_client().zrange(key, 0, -1)]
    stored = servers.rows("SELECT id FROM turns WHERE user_id = %s ORDER BY id", user)
    assert 6 == len(stored)
    assert [identity for (identity,) in stored] == buffered


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
