"""The service under test: 1..N processes on 127.0.0.1, each an instance with its own port."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from harness.errors import PartError
from harness.parts.reach import answers, child_environment, first_free
from harness.supervision import Process
from harness.workspace import Workspace

READY_SECONDS = 60.0
"""A slow machine imports the service in some seconds; a minute means it will not come."""


class Service:
    """The reference service in `instances` processes: `async with Service(workspace, env=...)`."""

    embedded = True

    def __init__(
        self,
        workspace: Workspace,
        *,
        name: str = "service",
        env: Mapping[str, str] | None = None,
        instances: int = 1,
        workers: int = 1,
        port: int = 0,
    ) -> None:
        """`env` is added to the harness's environment; `name` names the logs, such as `name-0`.

        `port` fixes the first instance's, for an address that must be known before the start.
        """
        self._workspace = workspace
        self.name = name
        self._env = dict(env or {})
        self._workers = workers
        self._ports = [port] + [0] * (instances - 1)
        self._processes: list[Process] = []

    @property
    def urls(self) -> tuple[str, ...]:
        """The address of each instance."""
        return tuple(f"http://127.0.0.1:{port}" for port in self._ports)

    @property
    def url(self) -> str:
        """The first instance's address."""
        return self.urls[0]

    @property
    def processes(self) -> tuple[Process, ...]:
        """Each instance's process."""
        return tuple(self._processes)

    @property
    def pids(self) -> tuple[int, ...]:
        """Every process of every instance, workers included."""
        return tuple(child.pid for process in self._processes for child in process.tree())

    async def command(self, *arguments: str) -> None:
        """Run one of the service's own commands, such as `init-db`, to its end."""
        process = await self._workspace.start(
            f"{self.name}-{arguments[0]}",
            [sys.executable, "-m", "reference_service", *arguments],
            env=child_environment(self._env),
        )
        try:
            await process.wait()
        finally:
            await process.stop()
        if process.returncode != 0:
            raise PartError(
                f"`python -m reference_service {' '.join(arguments)}` ended with "
                f"{process.ending()}; {process.last_words()}"
            )

    async def start(self) -> None:
        """Start every instance and wait until all are ready; after `stop` on the same ports."""
        started = await asyncio.gather(
            *(self._start_instance(index) for index in range(len(self._ports))),
            return_exceptions=True,
        )
        for outcome in started:
            if isinstance(outcome, BaseException):
                raise outcome
        self._processes = [process for process in started if isinstance(process, Process)]

    async def stop(self) -> None:
        """End every instance; each finishes what is in flight."""
        await asyncio.gather(*(process.stop() for process in self._processes))

    def kill(self) -> None:
        """SIGKILL every instance."""
        for process in self._processes:
            process.kill()

    def pause(self) -> None:
        """Freeze every instance."""
        for process in self._processes:
            process.pause()

    def resume(self) -> None:
        """Thaw every instance."""
        for process in self._processes:
            process.resume()

    async def _start_instance(self, index: int) -> Process:
        async def launch(port: int) -> Process:
            workers = ["--workers", str(self._workers)] if self._workers > 1 else []
            return await self._workspace.start(
                f"{self.name}-{index}",
                [
                    *(sys.executable, "-m", "reference_service", "--host", "127.0.0.1"),
                    *("--port", str(port), *workers),
                ],
                env=child_environment(self._env),
                ready=answers(f"http://127.0.0.1:{port}/readyz"),
                timeout_seconds=READY_SECONDS,
            )

        self._ports[index], process = await first_free(self._workspace, self._ports[index], launch)
        return process

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()
