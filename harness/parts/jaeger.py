"""A Jaeger of the person's own, found on PATH or in JAEGER_BIN and started for one session.

Jaeger comes as one binary of its own project and in no wheel, so it is not embedded as the other
parts are. Traces reach it from the recorder, which passes on what it has written.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from harness.errors import PartError
from harness.parts.reach import answers
from harness.supervision import Process
from harness.workspace import Workspace

BINARY_VARIABLE: Final = "JAEGER_BIN"
"""Path of the binary; without it, `jaeger` is looked for on PATH."""

PAGE_PORT: Final = 16686
"""Where people expect Jaeger's page; another is taken when it is in use."""

READY_SECONDS: Final = 30.0
"""Jaeger with storage in memory is there in one or two."""

MAX_TRACES: Final = 100_000
"""Kept in memory, the oldest go first: about 1 GiB of the demo's traces."""


class Jaeger:
    """One Jaeger 2 with its traces in memory; `async with Jaeger(workspace) as jaeger`."""

    def __init__(self, workspace: Workspace, *, environ: Mapping[str, str] = os.environ) -> None:
        """Look the binary up in `environ`; it is started on entering."""
        self._workspace = workspace
        self._environ = environ
        self._page_port = 0
        self._otlp_port = 0
        self._process: Process | None = None

    @property
    def page(self) -> str:
        """The address of its page."""
        return f"http://127.0.0.1:{self._page_port}"

    @property
    def endpoint(self) -> str:
        """Its OTLP/HTTP address."""
        return f"http://127.0.0.1:{self._otlp_port}"

    async def start(self) -> None:
        """Start it and wait until it says that it is healthy."""
        binary = find_binary(self._environ)
        ports = [self._workspace.free_port() for _ in range(4)]
        health, grpc, query_grpc, self._otlp_port = ports
        self._page_port = PAGE_PORT if _is_free(PAGE_PORT) else self._workspace.free_port()
        settings = configuration(
            otlp_http=f"127.0.0.1:{self._otlp_port}",
            otlp_grpc=f"127.0.0.1:{grpc}",
            page=f"127.0.0.1:{self._page_port}",
            query_grpc=f"127.0.0.1:{query_grpc}",
            health=f"127.0.0.1:{health}",
        )
        file = self._workspace.path / "jaeger.yaml"
        # JSON is YAML, so that nothing but the standard library is needed to write it.
        file.write_text(json.dumps(settings, indent=1), encoding="utf-8")
        try:
            self._process = await self._workspace.start(
                "jaeger",
                [str(binary), "--config", str(file)],
                env=self._environ,
                ready=answers(f"http://127.0.0.1:{health}/status"),
                timeout_seconds=READY_SECONDS,
            )
        except OSError as error:
            raise PartError(
                f"{binary} could not be started: {error.strerror}; "
                f"name a Jaeger 2 binary in {BINARY_VARIABLE}."
            ) from error

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            await self._process.stop()


def find_binary(environ: Mapping[str, str]) -> Path:
    """Give Jaeger's path: JAEGER_BIN's, or the first `jaeger` on PATH.

    Raises
    ------
    PartError
        There is none; the message says where one would be looked for.
    """
    named = environ.get(BINARY_VARIABLE)
    if named:
        found = shutil.which(named, path=environ.get("PATH"))
        if found is None:
            raise PartError(
                f"{BINARY_VARIABLE} names {named}, which is no program that can be run; "
                "correct it, or unset it to have `jaeger` looked for on PATH."
            )
        return Path(found)
    found = shutil.which("jaeger", path=environ.get("PATH"))
    if found is None:
        raise PartError(
            f"No Jaeger was found: {BINARY_VARIABLE} is not set and no `jaeger` is on PATH. Get"
            " the Jaeger 2 binary from jaegertracing.io, use docker-compose.yml, or go without"
            " --jaeger: the report draws traces too, and worthit export sends a run anywhere."
        )
    return Path(found)


def configuration(
    *, otlp_http: str, otlp_grpc: str, page: str, query_grpc: str, health: str
) -> dict[str, Any]:
    """Give Jaeger 2's configuration for one process with storage in memory.

    The same as deploy/jaeger/config.yaml but for the addresses, each ``host:port``.
    """
    return {
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query", "healthcheckv2"],
            "pipelines": {
                "traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}
            },
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
        },
        "extensions": {
            "jaeger_storage": {"backends": {"in_memory": {"memory": {"max_traces": MAX_TRACES}}}},
            "jaeger_query": {
                "storage": {"traces": "in_memory"},
                "http": {"endpoint": page},
                "grpc": {"endpoint": query_grpc},
            },
            "healthcheckv2": {"use_v2": True, "http": {"endpoint": health}},
        },
        "receivers": {
            "otlp": {
                "protocols": {"grpc": {"endpoint": otlp_grpc}, "http": {"endpoint": otlp_http}}
            }
        },
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "in_memory"}},
    }


def _is_free(port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
