"""Which parts are embedded and which are the user's own? The environment decides.

DATABASE_URL, REDIS_URL and LLM_BASE_URL each replace a part; OTEL_EXPORTER_OTLP_ENDPOINT has the
recorder pass everything on, since a run without a recording has nothing to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from worthit.environment.postgres import ExternalPostgres, Postgres
from worthit.environment.recorder import Recorder
from worthit.environment.redis import ExternalRedis, Redis
from worthit.environment.simulator import ExternalLlm, Simulator
from worthit.process.workspace import Workspace


def choose_postgres(
    workspace: Workspace, environ: Mapping[str, str]
) -> Postgres | ExternalPostgres:
    """The database: DATABASE_URL's, or an embedded one."""
    url = environ.get("DATABASE_URL")
    return ExternalPostgres(url) if url else Postgres(workspace)


def choose_redis(
    workspace: Workspace, environ: Mapping[str, str], *, name: str = "redis"
) -> Redis | ExternalRedis:
    """The cache: REDIS_URL's, or an embedded one."""
    url = environ.get("REDIS_URL")
    return ExternalRedis(url) if url else Redis(workspace, name=name)


def choose_llm(
    workspace: Workspace, environ: Mapping[str, str], *, seed: int, profile: str
) -> Simulator | ExternalLlm:
    """The LLM: LLM_BASE_URL's, or the simulator."""
    url = environ.get("LLM_BASE_URL")
    return ExternalLlm(url) if url else Simulator(workspace, seed=seed, profile=profile)


def choose_recorder(
    workspace: Workspace, environ: Mapping[str, str], *, path: Path | None = None
) -> Recorder:
    """The recorder, passing on to OTEL_EXPORTER_OTLP_ENDPOINT when that is set."""
    return Recorder(
        workspace,
        path=path,
        forward=environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None,
        forward_headers=environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""),
    )
