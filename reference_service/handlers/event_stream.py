"""A reply as server-sent events."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Final

import orjson
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from reference_service.errors import ServiceError
from reference_service.models import ChatReply

_LOG = logging.getLogger(__name__)

_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class EventStream(Response):
    """Sends `delta` events, then `done` with the stored reply, or `error`.

    Unlike Starlette's StreamingResponse it stays in the request's own task: spans and baggage are
    those of the request, and a reader that leaves does not keep the turn from being stored.
    """

    def __init__(self, first: str | ChatReply, rest: AsyncIterator[str | ChatReply]) -> None:
        super().__init__()
        self._first = first
        self._rest = rest

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await _send(send, _event(self._first))
        try:
            async for item in self._rest:
                await _send(send, _event(item))
        except ServiceError as error:
            _LOG.warning("Stream failed: %s (%s)", error.code, error)
            body = orjson.dumps({"error": error.code, "message": error.message})
            await _send(send, b"event: error\ndata: " + body + b"\n\n")
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


def _event(item: str | ChatReply) -> bytes:
    if isinstance(item, str):
        return b"event: delta\ndata: " + orjson.dumps({"text": item}) + b"\n\n"
    return b"event: done\ndata: " + item.model_dump_json().encode() + b"\n\n"
