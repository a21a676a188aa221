"""The environment of one run: databases, caches, LLM and recorder, up before and after the load.

Every arm has a database of its own, cloned from one that was filled once, and a Redis of its own
if it uses one: so each server's own count is exactly one arm's count. A server of the user's own
(``DATABASE_URL``, ``REDIS_URL``) is used the same way: databases are made beside the one named and
dropped afterwards, and its Redis must be empty.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import redis.asyncio as redis_client
from redis.exceptions import RedisError
from typing_extensions import override

from worthit.environment.assembly import Assembly
from worthit.environment.choice import choose_llm, choose_postgres, choose_recorder, choose_redis
from worthit.environment.postgres import ExternalPostgres, Postgres
from worthit.environment.recorder import Recorder
from worthit.environment.redis import ExternalRedis, Redis
from worthit.environment.service import Service
from worthit.environment.simulator import ExternalLlm, Simulator
from worthit.errors import PartError, UsageError
from worthit.experiments.plan import Plan, PlannedArm
from worthit.process.supervision import Process
from worthit.process.workspace import Workspace
from worthit.run.run_directory import RunDirectory

SEEDED: Final = "worthit_seeded"
"""The database that is filled once and cloned for every arm."""

SERVICE_NAME: Final = "chat"
"""``service.name`` on the spans of the service under test."""


@dataclass(slots=True, kw_only=True)
class RunEnvironment(Assembly):
    """The parts of a run that outlive its services; ``async with RunEnvironment(...)``."""

    plan: Plan
    workspace: Workspace
    directory: RunDirectory
    environ: Mapping[str, str]
    postgres: Postgres | ExternalPostgres = field(init=False)
    llm: Simulator | ExternalLlm = field(init=False)
    recorder: Recorder = field(init=False)
    caches: dict[str, Redis | ExternalRedis] = field(init=False, default_factory=dict)
    """Arm -> its Redis."""
    databases: dict[str, str] = field(init=False, default_factory=dict)
    """Arm -> the name of its database."""

    @override
    async def _assemble(self) -> None:
        """Start the parts, one after the other: two cores gain nothing from a crowd."""
        experiment = self.plan.experiment
        workspace, environ = self.workspace, self.environ
        self.postgres = await self._stack.enter_async_context(choose_postgres(workspace, environ))
        self.llm = await self._stack.enter_async_context(
            choose_llm(workspace, environ, seed=experiment.seed, profile=experiment.profile)
        )
        self.recorder = await self._stack.enter_async_context(
            choose_recorder(workspace, environ, path=self.directory.raw / "traces.otlp")
        )
        for arm in self.plan.arms:
            if arm.uses_redis:
                self.caches[arm.name] = await self._cache(arm)

    async def fill(self) -> None:
        """Fill one database and clone it for every arm."""
        prefix = self._prefix()
        seeded = prefix + SEEDED
        await self._create(seeded)
        data = self.plan.experiment.data
        seeder = Service(
            self.workspace,
            name="seed",
            env={**self._common(), "DATABASE_URL": self.postgres.url(seeded)},
        )
        await seeder.command("init-db")
        await seeder.command(
            "seed",
            *("--personalities", str(self.plan.personalities), "--users", str(data.users)),
            *("--memories-per-user", str(data.memories_per_user)),
            *("--seed", str(self.plan.experiment.seed)),
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
        env["OTEL_RESOURCE_ATTRIBUTES"] = (
            f"worthit.run={self.directory.run_id},worthit.arm={arm.name}"
        )
        return Service(
            self.workspace,
            name=f"service-{arm.name}",
            env=env,
            workers=arm.instances,
            port=self.workspace.free_port(),
        )

    def processes(self) -> dict[str, Process]:
        """Give each embedded part's process by the part's name."""
        found: dict[str, Process] = {"recorder": self.recorder.process}
        if isinstance(self.postgres, Postgres):
            found["postgres"] = self.postgres.process
        if isinstance(self.llm, Simulator):
            found["llm"] = self.llm.process
        for arm, cache in self.caches.items():
            if isinstance(cache, Redis):
                found[f"redis-{arm}"] = cache.process
        return found

    def facts(self) -> dict[str, Any]:
        """Give the manifest's ``parts``."""
        caches = list(self.caches.values())
        return {
            "postgres": {"embedded": self.postgres.embedded},
            "redis": {"embedded": all(cache.embedded for cache in caches)},
            "llm": {"embedded": self.llm.embedded},
            "recorder": {"embedded": True},
            "service": {"embedded": True, "instances": self.plan.experiment.instances},
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
        return f"w{zlib.crc32(self.directory.run_id.encode()):08x}_"

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
