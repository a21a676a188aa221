"""The LLM: the simulator as a child process, or the person's own server named by LLM_BASE_URL."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from harness.errors import PartError, UsageError
from harness.parts.reach import answers, child_environment, first_free
from harness.supervision import Process
from harness.workspace import Workspace


class Simulator:
    """One simulator; `async with Simulator(workspace, seed=7, profile="seed") as llm`."""

    embedded = True

    def __init__(self, workspace: Workspace, *, seed: int = 0, profile: str = "native") -> None:
        """`profile` is `seed` (2-4 s a chat) or `native` (no waiting)."""
        self._workspace = workspace
        self._seed = seed
        self._profile = profile
        self._port = 0
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        """The simulator's process."""
        if self._process is None:
            raise PartError("The simulator is not running; enter it with `async with` first.")
        return self._process

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as its base URL; ends in /v1."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def log_path(self) -> Path:
        """What it did, one JSON line a call; complete once it has stopped."""
        return self._workspace.logs / "llm.jsonl"

    async def start(self) -> None:
        """Start it; after `stop` on the same port."""
        self._port, self._process = await first_free(self._workspace, self._port, self._launch)

    async def stop(self) -> None:
        """End it; its log is complete afterwards."""
        if self._process is not None:
            await self._process.stop()

    def kill(self) -> None:
        """SIGKILL it."""
        self.process.kill()

    def pause(self) -> None:
        """Freeze it."""
        self.process.pause()

    def resume(self) -> None:
        """Thaw it."""
        self.process.resume()

    async def fault(self, **fault: Any) -> None:  # noqa: ANN401 - the simulator checks them
        """Make calls fail or take longer: `kind`, `status`, `rate`, `extra_ms`; none ends it."""
        address = self.base_url.removesuffix("/v1") + "/admin/fault"
        async with httpx.AsyncClient() as client:
            answer = await client.post(address, json=fault)
        if answer.status_code != httpx.codes.OK:
            raise PartError(
                f"The simulator refused the fault: {answer.json()['error']['message']}"
            )

    async def _launch(self, port: int) -> Process:
        return await self._workspace.start(
            "simulator",
            [
                *(sys.executable, "-m", "harness.simulator", "--port", str(port)),
                *("--seed", str(self._seed), "--profile", self._profile),
                *("--log", str(self.log_path)),
            ],
            env=child_environment(),
            ready=answers(f"http://127.0.0.1:{port}/healthz"),
        )

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


class ExternalLlm:
    """An OpenAI-compatible server of the person's own, named by LLM_BASE_URL."""

    embedded = False
    log_path = None

    def __init__(self, base_url: str) -> None:
        """`base_url` ends in /v1."""
        self.base_url = base_url.rstrip("/")

    async def __aenter__(self) -> Self:
        try:
            async with httpx.AsyncClient(timeout=5) as client:
                # Any answer shows a server; /models may well want a key that we do not ask for.
                await client.get(f"{self.base_url}/models")
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise UsageError(
                f"LLM_BASE_URL is no address ({self.base_url}); write it as http://host:8080/v1, "
                "or unset it to use the simulator."
            ) from error
        except httpx.HTTPError as error:
            raise PartError(
                f"LLM_BASE_URL names {self.base_url}, which could not be reached ({error}); "
                "correct it, or unset it to use the simulator."
            ) from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None
