"""The parts that every environment has, each embedded or the user's own.

DATABASE_URL, REDIS_URL and LLM_BASE_URL each replace a part; OTEL_EXPORTER_OTLP_ENDPOINT has the
recorder send a copy of everything there, since a run without a recording has nothing to say.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from worthit.environment.postgres import ExternalPostgres, Postgres
from worthit.environment.recorder import Recorder
from worthit.environment.redis import ExternalRedis, Redis
from worthit.environment.server import Server
from worthit.environment.simulator import ExternalLlm, Simulator
from worthit.process.workspace import Workspace


@dataclass(slots=True, kw_only=True)
class Parts(ABC):
    """Parts that start in order and stop in reverse; if one fails to start, none stays up."""

    workspace: Workspace
    environ: Mapping[str, str]
    postgres: Postgres | ExternalPostgres = field(init=False)
    llm: Simulator | ExternalLlm = field(init=False)
    recorder: Recorder = field(init=False)
    _stack: AsyncExitStack = field(init=False, default_factory=AsyncExitStack)

    @abstractmethod
    async def _start(self) -> None:
        """Start every part by entering it into `_stack`."""

    def servers(self) -> dict[str, Server]:
        """Give each embedded part by its name in the manifest and in counters.parquet."""
        named = (("recorder", self.recorder), ("postgres", self.postgres), ("llm", self.llm))
        return {name: part for name, part in named if isinstance(part, Server)}

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()


def choose_postgres(
    workspace: Workspace, environ: Mapping[str, str]
) -> Postgres | ExternalPostgres:
    """Give the database: DATABASE_URL's, or an embedded one."""
    url = environ.get("DATABASE_URL")
    return ExternalPostgres(url) if url else Postgres(workspace)


def choose_redis(
    workspace: Workspace, environ: Mapping[str, str], *, name: str = "redis"
) -> Redis | ExternalRedis:
    """Give the cache: REDIS_URL's, or an embedded one."""
    url = environ.get("REDIS_URL")
    return ExternalRedis(url) if url else Redis(workspace, name=name)


def choose_llm(
    workspace: Workspace, environ: Mapping[str, str], *, seed: int, profile: str
) -> Simulator | ExternalLlm:
    """Give the LLM: LLM_BASE_URL's, or the simulator."""
    url = environ.get("LLM_BASE_URL")
    return ExternalLlm(url) if url else Simulator(workspace, seed=seed, profile=profile)


def forwarding_recorder(
    workspace: Workspace,
    environ: Mapping[str, str],
    *,
    path: Path | None = None,
    marks: Path | None = None,
    forward_traces: str | None = None,
    http_port: int = 0,
    grpc_port: int = 0,
) -> Recorder:
    """Give the recorder; OTEL_EXPORTER_OTLP_ENDPOINT, where set, is sent a copy of everything.

    Without `path` nothing is kept, without `marks` no mark is taken. Where the variable names the
    recorder's own ports, as it does in a shell that was set up for the service, there is no copy:
    the recorder would send itself each batch, without end.
    """
    endpoint = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None
    if endpoint is not None and _is_here(endpoint, {http_port, grpc_port} - {0}):
        endpoint = None
    return Recorder(
        workspace,
        path=path,
        marks=marks,
        keep=path is not None,
        forward=endpoint,
        forward_headers=environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""),
        forward_traces=forward_traces,
        http_port=http_port,
        grpc_port=grpc_port,
    )


_THIS_HOST: Final = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})  # noqa: S104 - an address to compare with


def _is_here(endpoint: str, ports: Collection[int]) -> bool:
    """Whether an address is one of these ports of this host; what is no address is not."""
    with suppress(ValueError):
        parts = urlsplit(endpoint)
        return parts.hostname in _THIS_HOST and parts.port in ports
    return False
