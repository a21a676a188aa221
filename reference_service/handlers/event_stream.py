"""A reply as server-sent events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import orjson
from fastapi.responses import Response
from starlette.types import Message, Receive, Scope, Send
from typing_extensions import override

from reference_service.errors import ServiceError
from reference_service.models import ChatReply
from reference_service.request_state import REQUEST

_LOG = logging.getLogger(__name__)

_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
READER_SECONDS: Final = 10.0
"""How long a reader may take nothing before it counts as gone. Somewhat more than a bad
connection's pause; a reader that is kept waiting for keeps a chat's place and a connection to the
model."""
Item = str | ChatReply
"""A piece of the reply, or the whole as it was stored."""


class EventStream(Response):
    """Sends `delta` events, then `done` with the stored reply, or `error`.

    Unlike Starlette's StreamingResponse it stays in the request's own task: spans and baggage are
    those of the request, and a reader that leaves, or reads no more, does not keep the turn from
    being stored.
    """

    def __init__(
        self,
        first: Item,
        rest: AsyncGenerator[Item, None],
        *,
        reader_seconds: float = READER_SECONDS,
    ) -> None:
        super().__init__()
        self._first = first
        self._rest = rest
        self._reader_seconds = reader_seconds

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reader = _Reader(send, self._reader_seconds)
        async with aclosing(self._rest):
            await reader.take({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            try:
                await reader.take(_body(_event(self._first)))
                async for item in self._rest:
                    await reader.take(_body(_event(item)))
            except ServiceError as error:
                _LOG.warning("Stream failed: %s (%s)", error.code, error)
                _note_failure(error)
                told = orjson.dumps({"error": error.code, "message": error.message})
                await reader.take(_body(b"event: error\ndata: " + told + b"\n\n"))
        await reader.take({"type": "http.response.body", "body": b"", "more_body": False})


class _Reader:
    """Who is sent the events, as long as it takes them."""

    def __init__(self, send: Send, seconds: float) -> None:
        self._send = send
        self._seconds = seconds
        self._gone = False

    async def take(self, message: Message) -> None:
        """Send a message, unless the reader has stopped reading."""
        if self._gone:
            return
        try:
            async with asyncio.timeout(self._seconds):
                await self._send(message)
        except TimeoutError:
            self._gone = True
            _LOG.warning(
                "A reader took nothing of its stream for %.0f s; going on without it",
                self._seconds,
            )


def _note_failure(error: ServiceError) -> None:
    """Have the request count as failed: its status said 200 before anybody knew."""
    request = REQUEST.get()
    if request is not None:
        request.failure = type(error).__qualname__


def _body(event: bytes) -> Message:
    return {"type": "http.response.body", "body": event, "more_body": True}


def _event(item: Item) -> bytes:
    if isinstance(item, str):
        return b"event: delta\ndata: " + orjson.dumps({"text": item}) + b"\n\n"
    return b"event: done\ndata: " + item.model_dump_json().encode() + b"\n\n"
