"""A wire to a real Redis that can be made slow, or cut once Redis has carried a command out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class RedisWire:
    """Passes bytes on both ways; what Redis answers may come late or never."""

    def __init__(self, redis_url: str) -> None:
        self._redis = urlsplit(redis_url)
        self._passing: set[asyncio.Task[None]] = set()
        self.port = 0
        self.delay_seconds = 0.0
        """How long each answer is under way."""
        self.cuts = 0
        """How many of the next answers cut their connection instead of arriving."""

    @property
    def url(self) -> str:
        """Return the address of this end."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        host, port = self._redis.hostname, self._redis.port
        far_reader, far_writer = await asyncio.open_connection(host, port)
        answers = asyncio.create_task(self._answers(far_reader, writer))
        self._passing.add(answers)
        answers.add_done_callback(self._passing.discard)
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                far_writer.write(data)
        far_writer.close()

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
async def redis_wire(redis_url: str) -> AsyncIterator[RedisWire]:
    """Give a wire to the Redis at this address."""
    wire = RedisWire(redis_url)
    server = await asyncio.start_server(wire.accept, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    async with server:
        yield wire
