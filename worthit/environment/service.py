"""The service under test: 1..N processes on 127.0.0.1, each an instance with its own port."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

from typing_extensions import override

from worthit.environment.server import Part, Server, answers, child_environment
from worthit.errors import PartError
from worthit.process.supervision import Process
from worthit.process.workspace import Workspace

READY_SECONDS = 60.0
"""A slow machine imports the service in some seconds; a minute means it will not come."""


_STAND_INS: Final = {
    "DATABASE_URL": "postgresql://127.0.0.1/checked",
    "REDIS_URL": "redis://127.0.0.1/0",
    "LLM_BASE_URL": "http://127.0.0.1/v1",
}
"""What a run fills in by itself, so that only the arm's own settings can be wrong."""


def refused_settings(env: Mapping[str, str]) -> str:
    """Ask the service itself what is wrong with an arm's settings; empty if nothing is."""
    command = [sys.executable, "-m", "reference_service", "check-settings"]
    asked = subprocess.run(
        command,
        env=child_environment({**_STAND_INS, **env}),
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stderr.strip() if asked.returncode else ""


class Instance(Server):
    """One process of the service, with workers of its own if it is to have more than one."""

    called = "The service"

    def __init__(
        self,
        workspace: Workspace,
        *,
        name: str,
        env: Mapping[str, str],
        workers: int,
        port: int,
    ) -> None:
        """`name` names its log."""
        super().__init__(workspace, port=port)
        self.name = name
        self._env = env
        self._workers = workers

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._port}"

    @override
    async def _launch(self, port: int) -> Process:
        workers = ["--workers", str(self._workers)] if self._workers > 1 else []
        return await self._workspace.start(
            self.name,
            [
                *(sys.executable, "-m", "reference_service", "--host", "127.0.0.1"),
                *("--port", str(port), *workers),
            ],
            env=child_environment(self._env),
            ready=answers(f"{self.url}/readyz"),
            timeout_seconds=READY_SECONDS,
        )


class Service(Part):
    """The reference service in `instances` processes: `async with Service(workspace, env=...)`.

    Told to stop, each instance finishes what is in flight.
    """

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
        """`env` is added to worthit's environment; `name` names the logs, such as `name-0`.

        `port` fixes the first instance's, for an address that must be known before the start.
        """
        self._workspace = workspace
        self.name = name
        self._env = dict(env or {})
        self._instances = [
            Instance(
                workspace,
                name=f"{name}-{index}",
                env=self._env,
                workers=workers,
                port=port if index == 0 else 0,
            )
            for index in range(instances)
        ]

    @property
    def urls(self) -> tuple[str, ...]:
        """The address of each instance."""
        return tuple(instance.url for instance in self._instances)

    @property
    def url(self) -> str:
        """The first instance's address."""
        return self.urls[0]

    @property
    def processes(self) -> tuple[Process, ...]:
        """Each instance's process; none before the start."""
        return tuple(instance.process for instance in self._instances if instance.launched)

    def pids(self) -> list[int]:
        """Give every process of every instance, workers included."""
        return [pid for process in self.processes for pid in process.pids()]

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
                f"{process.ending()}; {process.last_output()}"
            )

    async def fill(
        self, *, personalities: int, users: int, memories_per_user: int, seed: int
    ) -> None:
        """Create the tables of its database and fill them."""
        await self.command("init-db")
        await self.command(
            "seed",
            *("--personalities", str(personalities), "--users", str(users)),
            *("--memories-per-user", str(memories_per_user), "--seed", str(seed)),
        )

    @override
    async def start(self) -> None:
        """Start every instance; if one does not come up, none stays up."""
        started = await asyncio.gather(
            *(instance.start() for instance in self._instances), return_exceptions=True
        )
        failed = [outcome for outcome in started if isinstance(outcome, BaseException)]
        if failed:
            await self.stop()
            raise failed[0]

    @override
    async def stop(self) -> None:
        await asyncio.gather(*(instance.stop() for instance in self._instances))

    @override
    def kill(self) -> None:
        for process in self.processes:
            process.kill()

    @override
    def pause(self) -> None:
        for process in self.processes:
            process.pause()

    @override
    def resume(self) -> None:
        for process in self.processes:
            process.resume()
