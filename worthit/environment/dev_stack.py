"""All parts up and kept up, for a user who brings the load: what `worthit up` does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import override

from worthit.environment.assembly import Assembly
from worthit.environment.choice import choose_llm, choose_postgres, choose_redis
from worthit.environment.jaeger import Jaeger, find_jaeger
from worthit.environment.postgres import ExternalPostgres, Postgres
from worthit.environment.recorder import Recorder
from worthit.environment.redis import ExternalRedis, Redis
from worthit.environment.service import Service
from worthit.environment.simulator import ExternalLlm, Simulator
from worthit.errors import PartError
from worthit.process.supervision import Process
from worthit.process.workspace import Workspace

DATABASE = "worthit"
"""The service's database on an embedded PostgreSQL; elsewhere it is the one that is named."""

WATCH_SECONDS = 0.5
"""Between two looks at whether all parts still live."""

PERSONALITIES, USERS, MEMORIES_PER_USER = 5_000, 200, 20
"""What the database is filled with, enough for the scenarios' long tails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DevStackOptions:
    """What `worthit up` was asked for."""

    instances: int = 1
    port: int = 0
    profile: str = "native"
    seed: int = 7
    jaeger: bool = False
    traces: Path | None = None
    """Where to keep the recorded traces; without it they are counted, shown and passed on."""


@dataclass(slots=True, kw_only=True)
class DevStack(Assembly):
    """The parts, up; `async with DevStack(...) as stack`."""

    options: DevStackOptions
    workspace: Workspace
    environ: Mapping[str, str]
    say: Callable[[str], None]
    postgres: Postgres | ExternalPostgres = field(init=False)
    redis: Redis | ExternalRedis = field(init=False)
    llm: Simulator | ExternalLlm = field(init=False)
    recorder: Recorder = field(init=False)
    service: Service = field(init=False)
    jaeger: Jaeger | None = field(init=False, default=None)
    database_url: str = field(init=False, default="")

    @override
    async def _assemble(self) -> None:
        workspace, environ, enter = self.workspace, self.environ, self._stack.enter_async_context
        jaeger = find_jaeger(environ) if self.options.jaeger else None
        self.say("starting PostgreSQL, Redis, the LLM and the recorder")
        self.postgres = await enter(choose_postgres(workspace, environ))
        self.redis = await enter(choose_redis(workspace, environ))
        self.llm = await enter(
            choose_llm(workspace, environ, seed=self.options.seed, profile=self.options.profile)
        )
        if jaeger is not None:
            self.jaeger = await enter(Jaeger(workspace, jaeger))
        self.recorder = await enter(self._recorder())
        self.database_url = await self._database()
        self.service = self._service()
        self.say("filling the database")
        await self.service.command("init-db")
        await self.service.command(
            "seed",
            *("--personalities", str(PERSONALITIES), "--users", str(USERS)),
            *("--memories-per-user", str(MEMORIES_PER_USER), "--seed", str(self.options.seed)),
        )
        self.say("starting the service")
        await enter(self.service)

    def _recorder(self) -> Recorder:
        return Recorder(
            self.workspace,
            path=self.options.traces,
            keep=self.options.traces is not None,
            forward=self.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None,
            forward_headers=self.environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""),
            forward_traces=self.jaeger.endpoint if self.jaeger else None,
        )

    async def _database(self) -> str:
        if isinstance(self.postgres, ExternalPostgres):
            return self.postgres.url()
        return await self.postgres.create_database(DATABASE)

    def _service(self) -> Service:
        given = {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis.url,
            "REDIS_ENABLED": self.environ.get("REDIS_ENABLED", "true"),
            "LLM_BASE_URL": self.llm.base_url,
            "LATENCY_PROFILE": self.options.profile,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.recorder.endpoint,
            "OTEL_SERVICE_NAME": "chat",
        }
        return Service(
            self.workspace, env=given, instances=self.options.instances, port=self.options.port
        )

    def processes(self) -> dict[str, Process]:
        """Every embedded part's process by name."""
        found = {"the recorder": self.recorder.process}
        if isinstance(self.postgres, Postgres):
            found["PostgreSQL"] = self.postgres.process
        if isinstance(self.redis, Redis):
            found["Redis"] = self.redis.process
        if isinstance(self.llm, Simulator):
            found["the LLM simulator"] = self.llm.process
        if self.jaeger is not None:
            found["Jaeger"] = self.jaeger.process
        for index, process in enumerate(self.service.processes):
            found[f"the service (instance {index})"] = process
        return found

    async def watch(self, stop: asyncio.Event) -> None:
        """Wait until `stop`; a part that dies by itself is a PartError."""
        while not stop.is_set():
            for name, process in self.processes().items():
                if not process.alive:
                    raise PartError(
                        f"{name[0].upper()}{name[1:]} died ({process.ending()}); "
                        f"{process.last_output()} Everything else was stopped."
                    )
            try:
                await asyncio.wait_for(stop.wait(), WATCH_SECONDS)
            except TimeoutError:
                continue
