"""Chats while a server is away: a service process, a real fault, and how long each chat takes."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter

import httpx

from benchmarks.support.chat_servers import USERS, Servers, service
from worthit.environment.server import Server

ALL_CACHES = {
    "REDIS_ENABLED": "true",
    "PREFERENCES_CACHE_ENABLED": "true",
    "CONVERSATION_BUFFER_ENABLED": "true",
    "RATE_LIMIT_ENABLED": "true",
    "RATE_LIMIT_PER_MINUTE": "1000000",
    "LOG_LEVEL": "ERROR",
}
"""Every stage that asks Redis in each chat: the worst that losing Redis can do."""

CHATS = 60
"""Of an episode before the fault; afterwards as many as go into OPEN_SECONDS."""

OPEN_SECONDS = 0.9
"""Of chats behind an open breaker; long enough for a probe to fall into it."""

Fault = Callable[[], Awaitable[None]]
"""Takes a server away, or gives it back."""


@dataclass(slots=True)
class Latencies:
    """Seconds of chats by when they were made, and their statuses."""

    normal: list[float] = field(default_factory=list)
    closed: list[float] = field(default_factory=list)
    """Redis away, the breaker still closed."""
    opened: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    recovery: list[float] = field(default_factory=list)
    """From Redis's return until the breaker is closed."""


@asynccontextmanager
async def chatting(running: Servers) -> AsyncIterator[httpx.AsyncClient]:
    """Start a service with every cache, and give a client of it."""
    command = [sys.executable, "-m", "reference_service"]
    async with (
        service(running, "faulted", command, ALL_CACHES) as (url, _),
        httpx.AsyncClient(base_url=url, timeout=20) as client,
    ):
        yield client


async def redis_episodes(
    client: httpx.AsyncClient, away: Fault, back: Fault, episodes: int
) -> Latencies:
    """Take Redis away so many times, with chats one after the other."""
    found = Latencies()
    for _ in range(episodes):
        for _ in range(CHATS):
            await _timed(client, found, found.normal)
        await away()
        while await _breaker(client) == "closed":
            await _timed(client, found, found.closed)
        until = perf_counter() + OPEN_SECONDS
        while perf_counter() < until:
            await _timed(client, found, found.opened)
        await back()
        began = perf_counter()
        while await _breaker(client) != "closed":  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.02)
        found.recovery.append(perf_counter() - began)
    return found


@dataclass(slots=True)
class Outage:
    """What happened while PostgreSQL was away."""

    cached: Counter[int] = field(default_factory=Counter)
    """Statuses of lookups of a cached personality."""
    chats: Counter[int] = field(default_factory=Counter)
    without_retry_after: int = 0
    ready: int = 0
    """What `/readyz` answered at the end of it."""
    recovery_seconds: float = float("nan")
    """From PostgreSQL's return until a chat is answered with 200."""


async def postgres_outage(
    client: httpx.AsyncClient, away: Fault, back: Fault, seconds: float
) -> Outage:
    """Take PostgreSQL away for so long, and time the way back."""
    found = Outage()
    await chat(client, 1)
    await client.get("/personalities/p00001")
    await away()
    began = perf_counter()
    asked = []
    while perf_counter() - began < seconds:
        found.cached[(await client.get("/personalities/p00001")).status_code] += 1
        asked.append(asyncio.create_task(chat(client, 1)))
        await asyncio.sleep(0.1)
    found.ready = (await client.get("/readyz")).status_code
    await back()
    began = perf_counter()
    while (await chat(client, 2)).status_code != httpx.codes.OK:  # noqa: ASYNC110 - in another process
        await asyncio.sleep(0.01)
    found.recovery_seconds = perf_counter() - began
    for answer in await asyncio.gather(*asked):
        found.chats[answer.status_code] += 1
        refused = answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
        found.without_retry_after += refused and "retry-after" not in answer.headers
    return found


async def chat(client: httpx.AsyncClient, number: int) -> httpx.Response:
    """Send one chat of one of the users."""
    return await client.post(
        "/chat",
        json={"message": "Hi", "personality_name": f"p{number % 40:05d}"},
        headers={"X-User-Id": f"u{number % USERS:05d}"},
    )


def faults(server: Server, *, frozen: bool) -> tuple[Fault, Fault]:
    """Return how a server goes away, frozen (SIGSTOP) or stopped, and how it comes back."""

    async def pause() -> None:
        server.pause()

    async def resume() -> None:
        server.resume()

    return (pause, resume) if frozen else (server.stop, server.start)


async def _timed(client: httpx.AsyncClient, found: Latencies, into: list[float]) -> None:
    began = perf_counter()
    answer = await chat(client, found.statuses.total())
    into.append(perf_counter() - began)
    found.statuses[answer.status_code] += 1


async def _breaker(client: httpx.AsyncClient) -> str:
    return str((await client.get("/readyz")).json()["redis"])
