"""Real servers for the chat service's tests: PostgreSQL, Redis, the model simulator, the recorder.

They live on an event loop in a thread of their own, for a whole test session; tests start services
against them, as processes or as parts in the test's own loop, and stop, freeze and restart them.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
import redis

from reference_service.composition import Service as Parts
from reference_service.composition import build
from reference_service.settings import Settings
from tests.support.traces.span_sink import SpanSink
from worthit.environment.postgres import Postgres
from worthit.environment.recorder import Recorder
from worthit.environment.redis import Redis
from worthit.environment.service import Service
from worthit.environment.simulator import Simulator
from worthit.process.workspace import Workspace

T = TypeVar("T")

PERSONALITIES, USERS, MEMORIES_PER_USER = 60, 20, 12
"""What the database is seeded with, besides `elara`."""

ROOT = Path(__file__).parents[3]


class ChatServers:
    """The servers, and ways to start services against them."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._stack = AsyncExitStack()
        self._numbers = itertools.count(1)
        self.workspace: Workspace
        self.postgres: Postgres
        self.redis: Redis
        self.llm: Simulator

    def call(self, work: Awaitable[T], timeout_seconds: float = 60) -> T:
        """Run something awaitable on the servers' loop and return what it returns."""

        async def awaited() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result(timeout_seconds)

    def open(self) -> None:
        """Start the servers and fill the database."""
        self._thread.start()
        self.call(self._open())
        self.command("init-db")
        self.command(
            *("seed", "--personalities", str(PERSONALITIES), "--users", str(USERS)),
            *("--memories-per-user", str(MEMORIES_PER_USER), "--seed", "7"),
        )

    def close(self) -> None:
        """Stop everything."""
        self.call(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _open(self) -> None:
        enter = self._stack.enter_async_context
        self.workspace = await enter(Workspace())
        self.postgres = await enter(Postgres(self.workspace))
        self.redis = await enter(Redis(self.workspace))
        self.llm = await enter(Simulator(self.workspace, seed=7, profile="native"))

    def environment(self, **settings: str) -> dict[str, str]:
        """Return a service's settings: these servers, everything else as it comes."""
        return {
            "DATABASE_URL": self.postgres.url(),
            "REDIS_URL": self.redis.url,
            "LLM_BASE_URL": self.llm.base_url,
            **settings,
        }

    def command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run one of the service's own commands to its end, with these settings besides."""
        return subprocess.run(
            [sys.executable, "-m", "reference_service", *arguments],
            env={**os.environ, **self.environment(**settings)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )

    @contextmanager
    def recorder(self) -> Iterator[Recorder]:
        """Start a recorder of its own file."""
        path = self.workspace.path / f"traces-{next(self._numbers)}.otlp"
        recorder = Recorder(self.workspace, path=path)
        self.call(recorder.start())
        try:
            yield recorder
        finally:
            self.call(recorder.stop())

    @contextmanager
    def service(self, *, workers: int = 1, **settings: str) -> Iterator[Service]:
        """Start a service process with these settings, ready to be asked."""
        name = f"service{next(self._numbers)}"
        env = self.environment(**settings)
        service = Service(self.workspace, name=name, env=env, workers=workers)
        self.call(service.start())
        try:
            yield service
        finally:
            self.call(service.stop())

    def log(self, service: Service) -> str:
        """Return what a service printed so far."""
        return (self.workspace.logs / f"{service.name}-0.log").read_text(encoding="utf-8")

    @asynccontextmanager
    async def parts(self, **settings: object) -> AsyncIterator[tuple[Parts, SpanSink]]:
        """Make a service's parts in the test's own loop; its spans are kept in memory."""
        given = {name.lower(): value for name, value in self.environment().items()}
        # A busy machine holds processes up for more than 50 ms; what is tried here is not that.
        made = Settings.model_validate({**given, "redis_timeout_ms": 2000, **settings})
        sink = SpanSink()
        parts = build(made, sink.telemetry)
        await parts.database.open()
        await parts.database.pool.wait(10)
        try:
            yield parts, sink
        finally:
            await parts.personalities.close()
            if parts.buffer is not None:
                await parts.buffer.close()
            await parts.models.close()
            if parts.redis is not None:
                await parts.redis.close()
            await parts.database.close()

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Ask PostgreSQL directly."""
        with psycopg.connect(self.postgres.url(), autocommit=True) as connection:
            return connection.execute(statement.encode(), parameters).fetchall()

    def redis_client(self) -> redis.Redis:
        """Return a plain client of the Redis under test."""
        return redis.Redis.from_url(self.redis.url)


@pytest.fixture(scope="session", name="servers")
def _servers() -> Iterator[ChatServers]:
    """Give the session's servers."""
    servers = ChatServers()
    servers.open()
    yield servers
    servers.close()
