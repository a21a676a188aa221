"""Refuses bodies above a size without reading them: a plain ASGI layer.

FastAPI's own `max_body_size` answers in plain text and wraps each request three times; the answer
here has the form of all others.
"""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reference_service.handlers.answers import answer


class BodyLimit:
    """Refuses by Content-Length at once, and a body without one as soon as it grows too large."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = next(
            (value for name, value in scope["headers"] if name == b"content-length"), b"0"
        )
        if not length.isdigit() or int(length) > self._max_bytes:
            await answer(413, "body_too_large", self._sentence())(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise HTTPException(413, self._sentence().rstrip("."))
            return message

        await self._app(scope, counted, send)

    def _sentence(self) -> str:
        return f"The body is above {self._max_bytes} bytes."
