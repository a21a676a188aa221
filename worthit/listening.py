"""How recorder and simulator listen: an ASGI application on uvicorn, bodies received with limits.

Each runs until SIGTERM or Ctrl-C.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import HANDLED_SIGNALS

from worthit.errors import WorthitError

LOOPBACK = "127.0.0.1"
"""Where a part listens unless told otherwise; a container has to say 0.0.0.0."""

BACKLOG = 4096
"""Connections that may wait to be accepted: a burst of a load test is no reason to refuse one."""

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays open. Longer than clients keep theirs (SDKs export every 5 s):
one that is closed just when its client writes costs the client an error."""

BODY_SECONDS = 30.0
"""How long a body may take to arrive; SDKs give up after 10 s."""

MOST_TOGETHER_BYTES = 256 << 20
"""Of all bodies that are being received; beyond it senders are told to come again."""

LINGER_SECONDS = 5.0
"""How long a refused sender may go on sending, unread."""

STOP_SECONDS = 1
"""How long requests under way may take at the end."""


def bind(what: str, host: str, port: int) -> socket.socket:
    """Listen there; `what` names the server in the sentence about a port that cannot be had."""
    try:
        return socket.create_server((host, port), backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if "in use" in reason.lower():
            reason = "the port is in use"
        raise WorthitError(
            f"{what} cannot listen on {host}:{port}, {reason}; "
            "end what listens there or choose another port."
        ) from error


def serve(
    app: Starlette,
    sockets: Sequence[socket.socket],
    protocol: type[HttpToolsProtocol] = HttpToolsProtocol,
) -> None:
    """Answer on all `sockets`; returns once told to end and all is closed."""
    config = uvicorn.Config(
        app,
        http=protocol,
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    _Server(config).run(sockets=list(sockets))


class _Server(uvicorn.Server):
    """uvicorn's raises the signal again once it has stopped; here being told to end is success."""

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for signum in HANDLED_SIGNALS:
            loop.add_signal_handler(signum, self.handle_exit, signum, None)
        yield


class UnreadError(Exception):
    """A body was refused before it was read to its end; `status` is the HTTP status that says so.

    It is answered by `LastAnswer`.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Bodies:
    """Receives bodies: none larger than the limit, none for ever, and not too many together."""

    def __init__(self, most_bytes: int) -> None:
        """`most_bytes` is the limit for one body."""
        self._most = most_bytes
        self._together = 0

    async def read(self, request: Request) -> bytes:
        """Receive the body of `request`; raises UnreadError, or starlette's ClientDisconnect."""
        if int(request.headers.get("content-length", 0)) > self._most:
            raise self._too_large()
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for piece in request.stream():
                    pieces.append(piece)
                    size += len(piece)
                    self._together += len(piece)
                    if size > self._most:
                        raise self._too_large()
                    if self._together > MOST_TOGETHER_BYTES:
                        raise UnreadError("Too many bodies arrive at once.", 503)
        except TimeoutError:
            raise UnreadError(f"The body took more than {BODY_SECONDS:g} s.", 408) from None
        finally:
            self._together -= size
        return b"".join(pieces)

    def _too_large(self) -> UnreadError:
        return UnreadError(f"The body is larger than {self._most} bytes.", 413)


class LastAnswer(Response):
    """Sent at once; the connection is closed when the sender has been heard out, or after a while.

    One closed with bytes still unread is reset, and a reset takes the refusal from the sender
    before it has read it: it would then send the same again and again.
    """

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [*self.raw_headers, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while (await receive()).get("more_body"):
                    pass
        await send({"type": "http.response.body"})
