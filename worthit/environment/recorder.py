"""The recorder as a child process; it can pass spans on to an endpoint of the user's own."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import httpx
from typing_extensions import override

from worthit.contract.manifest import PassedOn
from worthit.environment.server import Server, answers, child_environment, must_be_free
from worthit.errors import PartError
from worthit.process.supervision import Process
from worthit.process.workspace import Workspace

PASSING_ON_SECONDS = 5.0
"""How long a finished run waits for the last copies to be passed on."""


class Recorder(Server):
    """One recorder; `async with Recorder(workspace) as recorder`.

    Its files are complete once it has stopped; started again, it appends to them. Killed, they
    hold what it acknowledged.
    """

    called = "The recorder"

    def __init__(
        self,
        workspace: Workspace,
        *,
        path: Path | None = None,
        keep: bool = True,
        marks: Path | None = None,
        forward: str | None = None,
        forward_headers: str = "",
        forward_traces: str | None = None,
        http_port: int = 0,
        grpc_port: int = 0,
    ) -> None:
        """`path` is the traces' file, metrics beside it; `keep=False` only counts and passes on.

        `marks` is the file of what `worthit mark` sends; without it marks are refused.
        `forward` is a further OTLP/HTTP endpoint that gets everything, `forward_traces` one that
        takes traces alone. `forward_headers` go to the former, as OTEL_EXPORTER_OTLP_HEADERS
        spells them: by the environment, since an argument list is for all to see. A port given is
        the port used, or an error.
        """
        super().__init__(workspace, port=http_port)
        self.path = path or workspace.path / "traces.otlp"
        self.forward = forward
        self._options = [
            *(("--out", str(self.path)) if keep else ()),
            *(("--marks", str(marks)) if marks else ()),
            *(("--forward", forward) if forward else ()),
            *(("--forward-traces", forward_traces) if forward_traces else ()),
        ]
        self._headers = {"OTEL_EXPORTER_OTLP_HEADERS": forward_headers}
        self._grpc_port = grpc_port
        self._grpc_fixed = bool(grpc_port)

    @property
    def endpoint(self) -> str:
        """For OTEL_EXPORTER_OTLP_ENDPOINT with the protocol http/protobuf or http/json."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def grpc_endpoint(self) -> str:
        """For OTEL_EXPORTER_OTLP_ENDPOINT with the protocol grpc."""
        return f"http://127.0.0.1:{self._grpc_port}"

    @property
    def metrics_path(self) -> Path:
        """The file of metrics."""
        return self.path.with_name(self.path.name + ".metrics")

    async def stats(self) -> dict[str, int]:
        """Its counts: bytes, batches, spans, refused, unwritten, ..."""
        found: dict[str, int] = await self._get("/stats")
        return found

    async def refusals(self) -> dict[str, int]:
        """Give how often it refused something, by reason."""
        found: dict[str, int] = await self._get("/refusals")
        return found

    async def passed_on(self) -> PassedOn | None:
        """Wait a moment for the last copies, and tell; None when nothing is passed on."""
        if self.forward is None:
            return None
        deadline = time.monotonic() + PASSING_ON_SECONDS
        while True:
            stats = await self.stats()
            batches = stats["batches"] + stats["metric_batches"] + stats["log_batches"]
            known = stats["forwarded"] + stats["forward_dropped"] >= batches
            if known or time.monotonic() > deadline:
                missed = batches - stats["forwarded"]
                return PassedOn(endpoint=self.forward, batches=batches, missed=missed)
            await asyncio.sleep(0.05)

    async def _get(self, path: str) -> dict[str, Any]:
        try:
            async with httpx.AsyncClient(timeout=10) as client:
                answer = await client.get(self.endpoint + path)
                answer.raise_for_status()
        except httpx.HTTPError as error:
            raise PartError(
                f"The recorder did not answer ({type(error).__name__}); "
                f"{self.process.last_output()}"
            ) from error
        found: dict[str, Any] = answer.json()
        return found

    @override
    async def start(self) -> None:
        if self._grpc_fixed:
            must_be_free(self._grpc_port)
        await super().start()
        self._grpc_fixed = True

    @override
    async def _launch(self, port: int) -> Process:
        if not self._grpc_fixed:
            self._grpc_port = self._workspace.free_port()
        return await self._workspace.start(
            "recorder",
            [
                *(sys.executable, "-m", "worthit.recorder", "--http-port", str(port)),
                *("--grpc-port", str(self._grpc_port), *self._options),
            ],
            env=child_environment(self._headers),
            ready=answers(f"http://127.0.0.1:{port}/healthz"),
        )
