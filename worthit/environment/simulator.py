"""The LLM: the simulator as a child process, or the user's own server named by LLM_BASE_URL."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import httpx
from typing_extensions import override

from worthit.environment.server import ExternalServer, Server, answers, child_environment
from worthit.errors import PartError, UsageError
from worthit.process.supervision import Process
from worthit.process.workspace import Workspace


class Simulator(Server):
    """One simulator; `async with Simulator(workspace, seed=7, profile="seed") as llm`."""

    called = "The simulator"

    def __init__(self, workspace: Workspace, *, seed: int = 0, profile: str = "native") -> None:
        """`profile` is `seed` (2-4 s a chat) or `native` (no waiting)."""
        super().__init__(workspace)
        self._seed = seed
        self._profile = profile

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as its base URL; ends in /v1."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def log_path(self) -> Path:
        """What it did, one JSON line per call; complete once it has stopped."""
        return self._workspace.logs / "llm.jsonl"

    async def fault(self, **fault: Any) -> None:  # noqa: ANN401 - the simulator checks them
        """Make calls fail or take longer: `kind`, `status`, `rate`, `extra_ms`; none ends it."""
        address = self.base_url.removesuffix("/v1") + "/admin/fault"
        async with httpx.AsyncClient() as client:
            answer = await client.post(address, json=fault)
        if answer.status_code != httpx.codes.OK:
            raise PartError(
                f"The simulator refused the fault: {answer.json()['error']['message']}"
            )

    @override
    async def _launch(self, port: int) -> Process:
        return await self._workspace.start(
            "simulator",
            [
                *(sys.executable, "-m", "worthit.simulator", "--port", str(port)),
                *("--seed", str(self._seed), "--profile", self._profile),
                *("--log", str(self.log_path)),
            ],
            env=child_environment(),
            ready=answers(f"http://127.0.0.1:{port}/healthz"),
        )


class ExternalLlm(ExternalServer):
    """An OpenAI-compatible server of the user's own, named by LLM_BASE_URL."""

    log_path = None

    def __init__(self, base_url: str) -> None:
        """`base_url` ends in /v1."""
        self.base_url = base_url.rstrip("/")

    @override
    async def check(self) -> None:
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
