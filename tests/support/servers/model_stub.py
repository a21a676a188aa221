"""A model server that sends what a test tells it to, byte for byte and when told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from reference_service.resilience.retry_budget import RetryBudget
from reference_service.storage.model_client import ModelClient
from reference_service.telemetry.metrics import Instruments
from tests.support.traces.span_sink import SpanSink

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
MESSAGES = [{"role": "user", "content": "Hi"}]


@dataclass(slots=True)
class Model:
    """What the server was asked, and the client that asks it."""

    url: str
    spans: SpanSink = field(default_factory=SpanSink)
    requests: list[str] = field(default_factory=list)
    """The head of each request."""

    def client(
        self, *, seconds: float = 5.0, retries: int = 2, max_connections: int = 10
    ) -> ModelClient:
        """Return a client of this server."""
        return ModelClient(
            self.url,
            tracer=self.spans.telemetry.tracer,
            instruments=Instruments(self.spans.telemetry.meter),
            budget=RetryBudget(),
            rng=random.Random(1),
            chat_model="sim-chat",
            embedding_model="sim-embed",
            dimensions=2,
            provider="openai",
            api_key=None,
            chat_timeout_seconds=seconds,
            embedding_timeout_seconds=seconds,
            retries=retries,
            max_connections=max_connections,
        )


@asynccontextmanager
async def model(*answers: Answer) -> AsyncIterator[Model]:
    """Serve on loopback; the last of the answers is given to every further request, too."""
    found = Model("")
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = head.lower().partition("content-length: ")[2].partition("\r\n")[0]
                await reader.readexactly(int(length))
                found.requests.append(head)
                await answers[min(len(found.requests), len(answers)) - 1](writer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield found
    finally:
        server.close()
        for writer in writers:
            writer.close()


def whole(body: bytes, status: int = 200) -> Answer:
    """Answer at once."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))

    return answer


def pieces(*parts: bytes, pause_seconds: float = 0.0) -> Answer:
    """Answer in chunks, with a pause before each; without an end when the last part is empty."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in parts:
            await writer.drain()
            await asyncio.sleep(pause_seconds)
            if part:
                writer.write(b"%x\r\n%b\r\n" % (len(part), part))
        if parts[-1]:
            writer.write(b"0\r\n\r\n")

    return answer


def events(*data: bytes) -> bytes:
    """Return server-sent events."""
    return b"".join(b"data: %b\n\n" % one for one in data)
