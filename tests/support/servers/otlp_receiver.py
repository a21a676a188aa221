"""An OTLP/HTTP receiver on loopback that can be told to be busy, and keeps what it was sent."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass(slots=True)
class Receiver:
    """What arrived, and how to answer the next message."""

    url: str = ""
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Status and headers for the next messages, in order; afterwards everything is taken."""
    reject: int = 0
    """Spans that every message taken is said to have lost."""
    delay_s: float = 0.0
    arrived_at_s: list[float] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    authorizations: set[str | None] = field(default_factory=set)
    open: int = 0
    most_open: int = 0

    async def take(self, request: web.Request) -> web.Response:
        """Answer one message as told."""
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            return await self._answer(request)
        finally:
            self.open -= 1

    async def _answer(self, request: web.Request) -> web.Response:
        self.arrived_at_s.append(time.monotonic())
        self.authorizations.add(request.headers.get("Authorization"))
        body = await request.read()
        await asyncio.sleep(self.delay_s)
        if self.answers:
            status, headers = self.answers.pop(0)
            if status != web.HTTPOk.status_code:
                return web.Response(status=status, headers=headers, text="busy")
        raw = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        message = ExportTraceServiceRequest.FromString(raw)
        for resource in message.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        partial = ExportTracePartialSuccess(
            rejected_spans=self.reject, error_message="too old" if self.reject else ""
        )
        answer = ExportTraceServiceResponse(partial_success=partial)
        return web.Response(body=answer.SerializeToString())


@asynccontextmanager
async def receiver(change: Callable[[Receiver], None] = lambda _: None) -> AsyncIterator[Receiver]:
    """Listen on a free port of 127.0.0.1 for as long as the block lasts."""
    state = Receiver()
    change(state)
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_post("/v1/traces", state.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    state.url = f"http://{host}:{port}"
    try:
        yield state
    finally:
        await runner.cleanup()
