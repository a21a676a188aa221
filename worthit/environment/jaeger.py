"""Jaeger, where the user has its binary: traces in memory, its page on a free port."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from worthit.environment.server import Server, answers
from worthit.errors import UsageError
from worthit.process.supervision import Process
from worthit.process.workspace import Workspace

NAMES = ("jaeger", "jaeger-all-in-one")
"""Jaeger v2's binary and v1's, looked for in this order."""

MAX_TRACES = 100_000
"""Kept in memory, the oldest dropped; a chat trace of 10 spans takes about 10 KiB there."""


SPARE_PORTS = 6
"""v1 listens on so many ports that nobody here asks anything; v2 on one."""


def find_jaeger(environ: Mapping[str, str]) -> str:
    """JAEGER_BIN, or the binary found on PATH; raises UsageError."""
    named = environ.get("JAEGER_BIN")
    path = environ.get("PATH")
    for name in (named,) if named else NAMES:
        found = shutil.which(name, path=path)
        if found:
            return found
    where = f"JAEGER_BIN names {named}, which is" if named else "A Jaeger binary (`jaeger`) is"
    raise UsageError(
        f"{where} not there or not executable; download one from https://www.jaegertracing.io, "
        "put it on PATH or name it in JAEGER_BIN, or leave out --jaeger."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The ports one Jaeger listens on; `spare` are those that nobody here asks anything."""

    page: int
    otlp: int
    spare: tuple[int, ...]


class Jaeger(Server):
    """One Jaeger; `async with Jaeger(workspace, find_jaeger(os.environ)) as jaeger`.

    Its traces live in memory and go with it.
    """

    called = "Jaeger"

    def __init__(self, workspace: Workspace, binary: str) -> None:
        """A binary with `all-in-one` in its name is taken for v1, any other for v2."""
        super().__init__(workspace)
        self._binary = binary
        self._otlp_port = workspace.free_port()

    @property
    def url(self) -> str:
        """Where its page is."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def endpoint(self) -> str:
        """Where it takes OTLP/HTTP."""
        return f"http://127.0.0.1:{self._otlp_port}"

    @override
    async def _launch(self, port: int) -> Process:
        spare = tuple(self._workspace.free_port() for _ in range(SPARE_PORTS))
        ports = Ports(page=port, otlp=self._otlp_port, spare=spare)
        if "all-in-one" in os.path.basename(self._binary):  # noqa: PTH119 - a name, not a file
            arguments = v1_arguments(ports)
        else:
            configuration = self._workspace.path / "jaeger.yaml"  # JSON is YAML
            configuration.write_text(json.dumps(v2_configuration(ports)), encoding="utf-8")
            arguments = ["--config", f"file:{configuration}"]
        return await self._workspace.start(
            "jaeger", [self._binary, *arguments], ready=answers(self.url)
        )


def v1_arguments(ports: Ports) -> list[str]:
    """Every listener of v1's all-in-one on 127.0.0.1 and a free port."""
    spare = iter(ports.spare)
    listeners = {
        "query.http-server": ports.page,
        "query.grpc-server": next(spare),
        "collector.otlp.http": ports.otlp,
        "collector.otlp.grpc": next(spare),
        "collector.http-server": next(spare),
        "collector.grpc-server": next(spare),
        "admin.http": next(spare),
    }
    return [
        "--collector.otlp.enabled=true",
        f"--memory.max-traces={MAX_TRACES}",
        *(f"--{name}.host-port=127.0.0.1:{port}" for name, port in listeners.items()),
    ]


def v2_configuration(ports: Ports) -> dict[str, Any]:
    """The least that v2 needs: OTLP in, memory, the page."""
    return {
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"],
            "pipelines": {
                "traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}
            },
            "telemetry": {"metrics": {"level": "none"}},
        },
        "extensions": {
            "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": MAX_TRACES}}}},
            "jaeger_query": {
                "storage": {"traces": "memory"},
                "http": {"endpoint": f"127.0.0.1:{ports.page}"},
                "grpc": {"endpoint": f"127.0.0.1:{ports.spare[0]}"},
            },
        },
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{ports.otlp}"}}}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
    }
