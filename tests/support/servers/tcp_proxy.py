"""A wire to a real server that can be made slow, or cut once what was asked has been done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class ServerWire:
    """Passes bytes on both ways; what the server answers may come late or never."""

    def __init__(self, url: str) -> None:
        self._far = urlsplit(url)
        self._answering: set[asyncio.Task[None]] = set()
        self._ends: list[asyncio.StreamWriter] = []
        self.port = 0
        self.delay_seconds = 0.0
        """How long each answer is under way."""
        self.cuts = 0
        """How many of the next answers cut their connection instead of arriving."""

    @property
    def url(self) -> str:
        """Return the server's address with this end in its place."""
        host = f"{self._far.hostname}:{self._far.port}"
        near = self._far.netloc.replace(host, f"127.0.0.1:{self.port}")
        return self._far._replace(netloc=near).geturl()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        far_reader, far_writer = await asyncio.open_connection(self._far.hostname, self._far.port)
        self._ends += [writer, far_writer]
        self._answering.add(asyncio.create_task(self._answers(far_reader, writer)))
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                far_writer.write(data)
        far_writer.close()

    async def close(self) -> None:
        """Cut all connections."""
        for end in self._ends:
            end.transport.abort()
        await asyncio.gather(*self._answering)

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                if self.cuts:
                    self.cuts -= 1
                    writer.transport.abort()
                    return
                writer.write(data)
        writer.close()


@asynccontextmanager
async def server_wire(url: str) -> AsyncIterator[ServerWire]:
    """Give a wire to the server at this address."""
    wire = ServerWire(url)
    server = await asyncio.start_server(wire.accept, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    async with server:
        try:
            yield wire
        finally:
            await wire.close()
