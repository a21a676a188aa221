"""The environment of one run: databases, caches, LLM and recorder, up before and after the load.

Every arm has a database of its own, cloned from one that was filled once, and a Redis of its own
if it uses one: so each server's own count is exactly one arm's count. A server of the user's own
(``DATABASE_URL``, ``REDIS_URL``) is used the same way: databases are made beside the one named and
dropped afterwards, and its Redis must be empty.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import redis.asyncio as redis_client
from redis.exceptions import RedisError
from typing_extensions import override

from worthit.contract import names
from worthit.contract.manifest import Part
from worthit.environment.parts import (
    Parts,
    choose_llm,
    choose_postgres,
    choose_redis,
    forwarding_recorder,
)
from worthit.environment.postgres import ExternalPostgres, Postgres
from worthit.environment.redis import ExternalRedis, Redis
from worthit.environment.server import Server
from worthit.environment.service import Service
from worthit.errors import PartError, UsageError
from worthit.experiments.plan import Plan, PlannedArm
from worthit.process.supervision import Process

SEEDED: Final = "worthit_seeded"
"""The database that is filled once and cloned for every arm."""

SERVICE_NAME: Final = "chat"
"""``service.name`` on the spans of the service under test."""


@dataclass(slots=True, kw_only=True)
class RunEnvironment(Parts):
    """The parts of a run that outlive its services; `async with RunEnvironment(...)`."""

    plan: Plan
    run_id: str
    traces: Path
    """Where the recorder writes."""
    caches: dict[str, Redis | ExternalRedis] = field(init=False, default_factory=dict)
    """Arm -> its Redis."""
    databases: dict[str, str] = field(init=False, default_factory=dict)
    """Arm -> the name of its database."""

    @override
    async def _start(self) -> None:
        """Start the parts, one after the other: two cores gain nothing from a crowd."""
        experiment, enter = self.plan.experiment, self._stack.enter_async_context
        given = self.workspace, self.environ
        self.postgres = await enter(choose_postgres(*given))
        self.llm = await enter(
            choose_llm(*given, seed=experiment.seed, profile=experiment.profile)
        )
        self.recorder = await enter(forwarding_recorder(*given, path=self.traces))
        for arm in self.plan.arms:
            if arm.uses_redis:
                self.caches[arm.name] = await self._cache(arm)

    async def fill(self) -> None:
        """Fill one database and clone it for every arm."""
        prefix = self._prefix()
        seeded = prefix + SEEDED
        await self._create(seeded)
        data = self.plan.experiment.data
        filler = Service(
            self.workspace,
            name="seed",
            env={**self._common(), "DATABASE_URL": self.postgres.url(seeded)},
        )
        await filler.fill(
            personalities=self.plan.personalities,
            users=data.users,
            memories_per_user=data.memories_per_user,
            seed=self.plan.experiment.seed,
        )
        for arm in self.plan.arms:
            name = prefix + arm.database
            await self._create(name, seeded)
            self.databases[arm.name] = name

    def service(self, arm: PlannedArm) -> Service:
        """Give the service of an arm, not yet started, with its address fixed."""
        env = {**self._common(), **arm.env}
        env["DATABASE_URL"] = self.postgres.url(self.databases[arm.name])
        if arm.name in self.caches:
            env["REDIS_URL"] = self.caches[arm.name].url
        env["OTEL_EXPORTER_OTLP_ENDPOINT"] = self.recorder.endpoint
        env["OTEL_SERVICE_NAME"] = SERVICE_NAME
        env["OTEL_RESOURCE_ATTRIBUTES"] = f"{names.RUN}={self.run_id},{names.ARM}={arm.name}"
        return Service(
            self.workspace,
            name=f"service-{arm.name}",
            env=env,
            workers=arm.instances,
            port=self.workspace.free_port(),
        )

    @override
    def servers(self) -> dict[str, Server]:
        caches = {f"redis-{arm}": cache for arm, cache in self.caches.items()}
        embedded = {name: cache for name, cache in caches.items() if isinstance(cache, Redis)}
        return {**Parts.servers(self), **embedded}

    def processes(self) -> dict[str, Process]:
        """Give each embedded part's process by the part's name."""
        return {name: server.process for name, server in self.servers().items()}

    def parts(self) -> dict[str, Part]:
        """Give the manifest's ``parts``."""
        caches = list(self.caches.values())
        return {
            "postgres": Part(embedded=self.postgres.embedded),
            "redis": Part(embedded=all(cache.embedded for cache in caches)),
            "llm": Part(embedded=self.llm.embedded),
            "recorder": Part(embedded=True),
            "service": Part(embedded=True, instances=self.plan.experiment.instances),
        }

    def _common(self) -> dict[str, str]:
        return {
            "LLM_BASE_URL": self.llm.base_url,
            "LATENCY_PROFILE": self.plan.experiment.profile,
        }

    def _prefix(self) -> str:
        """Give what keeps two runs on one server of the user's own apart."""
        if isinstance(self.postgres, Postgres):
            return ""
        return f"w{zlib.crc32(self.run_id.encode()):08x}_"

    async def _create(self, name: str, template: str | None = None) -> None:
        await self.postgres.create_database(name, template)
        if isinstance(self.postgres, ExternalPostgres):
            self._stack.push_async_callback(self.postgres.drop_database, name)

    async def _cache(self, arm: PlannedArm) -> Redis | ExternalRedis:
        cache = choose_redis(self.workspace, self.environ, name=f"redis-{arm.name}")
        if isinstance(cache, ExternalRedis):
            if self.caches:
                raise UsageError(
                    "REDIS_URL names one Redis and more than one arm uses one: their counts could "
                    "not be told apart; unset REDIS_URL to give each arm an embedded Redis."
                )
            await self._stack.enter_async_context(cache)
            await _must_be_empty(cache)
            self._stack.push_async_callback(cache.flush)
            return cache
        return await self._stack.enter_async_context(cache)


async def _must_be_empty(cache: ExternalRedis) -> None:
    """Refuse a Redis that holds keys: they would be hits, and they are flushed at the end."""
    try:
        async with redis_client.from_url(cache.url, socket_timeout=5) as client:
            keys = int(await client.dbsize())
    except (RedisError, OSError) as error:
        raise PartError(f"REDIS_URL could not be asked for its keys ({error}).") from error
    if keys:
        raise UsageError(
            f"The Redis that REDIS_URL names holds {keys} keys, and a run must begin with none; "
            "name an empty database of it, such as /15, or unset REDIS_URL."
        )
