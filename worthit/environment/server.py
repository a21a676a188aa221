"""What is the same for every part: it starts, may be frozen or killed, and is gone afterwards.

A `Server` is one process of our own on a port of 127.0.0.1; an `ExternalServer` is one that
the user named, which is asked for a sign of life and otherwise left alone.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import urlsplit

from typing_extensions import override

import worthit
from worthit.errors import PartError
from worthit.process.supervision import Process, Ready
from worthit.process.workspace import Workspace, is_free

ATTEMPTS = 3
"""How often another port is tried when the chosen one was taken in between."""

ANSWER_SECONDS = 2.0
"""How long a sign of life may take before the question is asked again."""


class Part(ABC):
    """Something of ours that runs while the context does: `async with part`."""

    @abstractmethod
    async def start(self) -> None:
        """Start it and wait until it is ready; after `stop` at the same address."""

    @abstractmethod
    async def stop(self) -> None:
        """Ask it to end, and wait for that; nothing to do when it never started."""

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL it and all below it."""

    @abstractmethod
    def pause(self) -> None:
        """Freeze it: whoever asks it something hangs."""

    @abstractmethod
    def resume(self) -> None:
        """Thaw it."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()


class Server(Part):
    """One process on one port. A subclass says what is launched, when it is ready, and where."""

    embedded = True

    called: ClassVar[str]
    """What sentences call it."""

    def __init__(self, workspace: Workspace, *, port: int = 0) -> None:
        """`port` fixes the port, or its start is an error; 0 is a free one."""
        self._workspace = workspace
        self._port = port
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        """Its process; its children are in `process.tree()`."""
        if self._process is None:
            raise PartError(f"{self.called} is not running; enter it with `async with` first.")
        return self._process

    @property
    def launched(self) -> bool:
        """Whether it has ever been started."""
        return self._process is not None

    @override
    async def start(self) -> None:
        await self._prepare()
        self._process = await self._at_first_free()

    @override
    async def stop(self) -> None:
        if self._process is not None:
            await self._process.stop()

    @override
    def kill(self) -> None:
        self.process.kill()

    @override
    def pause(self) -> None:
        self.process.pause()

    @override
    def resume(self) -> None:
        self.process.resume()

    async def _prepare(self) -> None:
        """Do what must be done before each launch, whatever the port; by default nothing."""

    @abstractmethod
    async def _launch(self, port: int) -> Process:
        """Start the process on `port`, which its addresses name already, and await its answer."""

    async def _at_first_free(self) -> Process:
        """Launch on the port it has, or on a free one (another when that was taken in between)."""
        if self._port:
            must_be_free(self._port)
            return await self._launch(self._port)
        for _attempt in range(ATTEMPTS - 1):
            self._port = self._workspace.free_port()
            try:
                return await self._launch(self._port)
            except PartError:
                port, self._port = self._port, 0
                if is_free(port):  # it failed for another reason
                    raise
        self._port = self._workspace.free_port()
        return await self._launch(self._port)


@dataclass(frozen=True, slots=True)
class NamedBy:
    """Where a server of the user's own was named, for the sentences about it."""

    name: str
    """Such as DATABASE_URL."""
    otherwise: str
    """What to do if it cannot be used."""


class ExternalServer(ABC):
    """A server that the user named: used, never started, paused or stopped."""

    embedded = False

    @abstractmethod
    async def check(self) -> None:
        """Ask for a sign of life; UsageError for no address, PartError when out of reach."""

    async def __aenter__(self) -> Self:
        await self.check()
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give the environment of a Python child: our packages first, no OTEL_* or LOCUST_*.

    Our packages come before PYTHONPATH, and the current folder is no place to import from: either
    may hold an `analysis` of its own.
    """
    tree = str(Path(worthit.__path__[0]).parent)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "LOCUST_"))
    }
    path = os.pathsep.join(filter(None, (tree, kept.get("PYTHONPATH"))))
    ours = {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
    return {**kept, **ours, **(extra or {})}


def must_be_free(port: int) -> None:
    """Refuse a port that another server has: it might even answer in our part's place."""
    if not is_free(port):
        raise PartError(
            f"The port {port} of 127.0.0.1 is in use; end what listens there or choose another."
        )


def answers(url: str) -> Ready:
    """Give the question for `until_ready`: does a GET of `url` answer 200?

    Over a plain socket: asked every 0.02 s, a client library would cost more than the answer.
    """
    parts = urlsplit(url)

    async def ask() -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return (
                    await _status(parts.hostname or "", parts.port or 80, parts.path or "/")
                    == b"200"
                )
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return False

    return ask


async def _status(host: str, port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode("latin-1"))
        line = await reader.readuntil(b"\r\n")
        return line.split(b" ")[1]
    finally:
        writer.close()
