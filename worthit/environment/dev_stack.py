"""All parts up and kept up, for a user who brings the load: what `worthit up` does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import override

from worthit.environment.jaeger import Jaeger, find_jaeger
from worthit.environment.parts import (
    Parts,
    choose_llm,
    choose_postgres,
    choose_redis,
    forwarding_recorder,
)
from worthit.environment.postgres import ExternalPostgres
from worthit.environment.redis import ExternalRedis, Redis
from worthit.environment.server import Server, must_be_free
from worthit.environment.service import Service
from worthit.errors import PartError

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
class DevStack(Parts):
    """The parts of `worthit up`; `async with DevStack(...) as stack`."""

    options: DevStackOptions
    say: Callable[[str], None]
    redis: Redis | ExternalRedis = field(init=False)
    service: Service = field(init=False)
    jaeger: Jaeger | None = field(init=False, default=None)
    database_url: str = field(init=False, default="")

    @override
    async def _start(self) -> None:
        options, enter = self.options, self._stack.enter_async_context
        if options.port:
            must_be_free(options.port)  # before the database is filled, not after
        given = self.workspace, self.environ
        jaeger = find_jaeger(self.environ) if options.jaeger else None
        self.say("starting PostgreSQL, Redis, the LLM and the recorder")
        self.postgres = await enter(choose_postgres(*given))
        self.redis = await enter(choose_redis(*given))
        self.llm = await enter(choose_llm(*given, seed=options.seed, profile=options.profile))
        if jaeger is not None:
            self.jaeger = await enter(Jaeger(self.workspace, jaeger))
        self.recorder = await enter(
            forwarding_recorder(
                *given,
                path=options.traces,
                forward_traces=self.jaeger.endpoint if self.jaeger else None,
            )
        )
        self.database_url = (
            self.postgres.url()
            if isinstance(self.postgres, ExternalPostgres)
            else await self.postgres.create_database(DATABASE)
        )
        self.service = self._service()
        self.say("filling the database")
        await self.service.fill(
            personalities=PERSONALITIES,
            users=USERS,
            memories_per_user=MEMORIES_PER_USER,
            seed=options.seed,
        )
        self.say("starting the service")
        await enter(self.service)

    def _service(self) -> Service:
        settings = {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis.url,
            "REDIS_ENABLED": self.environ.get("REDIS_ENABLED", "true"),
            "LLM_BASE_URL": self.llm.base_url,
            "LATENCY_PROFILE": self.options.profile,
            "LOG_LEVEL": self.environ.get("LOG_LEVEL", "DEBUG"),  # each cache hit is in the log
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.recorder.endpoint,
            "OTEL_SERVICE_NAME": "chat",
        }
        return Service(
            self.workspace, env=settings, instances=self.options.instances, port=self.options.port
        )

    async def watch(self, stop: asyncio.Event) -> None:
        """Wait until `stop`; a part that dies by itself is a PartError."""
        others = (("redis", self.redis), ("jaeger", self.jaeger))
        servers = {
            **self.servers(),
            **{name: part for name, part in others if isinstance(part, Server)},
        }
        watched = [(server.called, server.process) for server in servers.values()]
        watched += [
            (f"The service (instance {index})", process)
            for index, process in enumerate(self.service.processes)
        ]
        while not stop.is_set():
            for called, process in watched:
                if not process.alive:
                    raise PartError(
                        f"{called} died ({process.ending()}); {process.last_output()} "
                        "Everything else was stopped."
                    )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), WATCH_SECONDS)
