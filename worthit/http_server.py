"""A very lean HTTP/1.1 server for the simulator and the recorder.

Both share two cores with what is measured, so every microsecond they take is taken from the run.
A request is parsed by httptools (C) and answered from a callback, without a task, a scope or a
framework. See docs/decisions/recorder-checks-and-keeps-bytes.md.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import traceback
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import httptools
import uvloop
from typing_extensions import override

from worthit.errors import WorthitError

REASONS = {
    200: b"OK",
    400: b"Bad Request",
    404: b"Not Found",
    405: b"Method Not Allowed",
    413: b"Content Too Large",
    415: b"Unsupported Media Type",
    429: b"Too Many Requests",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
}
"""Reason phrases; another status is sent with an empty one, as HTTP allows."""

LOOPBACK = "127.0.0.1"
"""Where a part listens unless told otherwise; a container has to say 0.0.0.0."""

PORT_IN_USE = "the port is in use"
"""Part of every sentence about a port that another server has; parts then try another port."""

LINGER_SECONDS = 5.0
"""How long a refused sender may go on sending, unread. A connection closed with bytes still unread
is reset, and a reset takes the refusal from the sender before it has read it: it would then send
the same again and again."""

JSON = b"application/json"
"""The content type of most answers."""


class Request:
    """One request as received, and the way to answer it."""

    __slots__ = (
        "_protocol",
        "answered",
        "body",
        "headers",
        "keep_alive",
        "method",
        "on_close",
        "path",
        "query",
    )

    def __init__(self, protocol: HttpProtocol, method: bytes, target: bytes) -> None:
        """`target` is the request line's path with its query."""
        self._protocol = protocol
        self.method = method
        self.path, _, self.query = target.partition(b"?")
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.keep_alive = True
        self.answered = False
        self.on_close: Callable[[], None] | None = None
        """Called when the client goes away before the answer is complete."""

    def respond(
        self, status: int, body: bytes, content_type: bytes = JSON, extra: bytes = b""
    ) -> None:
        """Answer whole. `extra` is further header lines, each ended by CRLF."""
        connection = b"" if self.keep_alive else b"connection: close\r\n"
        self.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %d\r\n%s%s\r\n%s"
            % (status, REASONS.get(status, b""), content_type, len(body), connection, extra, body)
        )
        self.finish()

    def start_stream(self, content_type: bytes, extra: bytes = b"") -> None:
        """Begin a chunked answer; `send_chunk` follows, `end_stream` ends it."""
        self.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncache-control: no-cache\r\n"
            b"transfer-encoding: chunked\r\n%s\r\n" % (content_type, extra)
        )

    def send_chunk(self, data: bytes) -> None:
        """One chunk of a stream."""
        self.write(b"%x\r\n%s\r\n" % (len(data), data))

    def end_stream(self) -> None:
        """The stream's end."""
        self.write(b"0\r\n\r\n")
        self.finish()

    def write(self, data: bytes) -> None:
        """Bytes to the client, dropped when it has gone."""
        self._protocol.send(data)

    def finish(self) -> None:
        """Take the connection's next request."""
        self.answered = True
        self.on_close = None
        self._protocol.answered(self)


Handler = Callable[[Request], None]
"""Called once a request is whole. It must answer now or later, and must not raise."""


class HttpProtocol(asyncio.Protocol):
    """One client connection. Pipelined requests are answered in their order."""

    __slots__ = (
        "_body",
        "_current",
        "_handler",
        "_headers",
        "_max_body",
        "_on_refused",
        "_parser",
        "_queue",
        "_refused",
        "_request",
        "_size",
        "_target",
        "transport",
    )

    def __init__(
        self, handler: Handler, max_body_bytes: int, on_refused: Callable[[], None] | None = None
    ) -> None:
        """A body larger than `max_body_bytes` is refused with 413, and `on_refused` told."""
        self._handler = handler
        self._on_refused = on_refused
        self._max_body = max_body_bytes
        self._parser: Any = httptools.HttpRequestParser(self)
        self._queue: deque[Request] = deque()
        self._current: Request | None = None
        self._request: Request | None = None
        self._refused = False
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size = 0
        self.transport: asyncio.Transport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a TCP server is given a Transport

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._queue.clear()
        current, self._current = self._current, None
        if current is not None and current.on_close is not None:
            current.on_close()

    @property
    def is_open(self) -> bool:
        """Whether the client is there and hears answers."""
        transport = self.transport
        return transport is not None and not transport.is_closing() and not self._refused

    def send(self, data: bytes) -> None:
        """Send to the client; dropped when it has gone or was refused."""
        if self.transport is not None and self.is_open:
            self.transport.write(data)

    @override
    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400, b'{"error":"upgrades are not supported"}')
        except httptools.HttpParserError:
            self._refuse(400, b'{"error":"not a valid HTTP/1.1 request"}')

    def on_message_begin(self) -> None:
        """httptools: a request begins."""
        self._target = b""
        self._request = None
        self._headers = {}
        self._body = []
        self._size = 0

    def on_url(self, url: bytes) -> None:
        """httptools: the target, possibly in pieces."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: one header; a repeated one is joined by a comma."""
        name = name.lower()
        known = self._headers.get(name)
        self._headers[name] = value if known is None else known + b"," + value

    def on_headers_complete(self) -> None:
        """httptools: all headers are here."""
        self._request = Request(self, self._parser.get_method(), self._target)
        self._request.headers = self._headers
        self._request.keep_alive = self._parser.should_keep_alive()
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, piece: bytes) -> None:
        """httptools: a piece of the body."""
        self._size += len(piece)
        if self._size <= self._max_body:
            self._body.append(piece)
        else:
            self._refuse(413, b'{"error":"the body is larger than %d bytes"}' % self._max_body)

    def on_message_complete(self) -> None:
        """httptools: the request is whole."""
        request = self._request
        if request is None or not self.is_open:
            return
        request.body = b"".join(self._body)
        self._body = []
        if self._current is None:
            self._handle(request)
        else:
            self._queue.append(request)

    def _handle(self, request: Request) -> None:
        if not self.is_open:  # gone or refused while the request waited its turn
            return
        self._current = request
        try:
            self._handler(request)
        except Exception:  # noqa: BLE001 - one request's failure must not take the server down
            traceback.print_exc()
            if not request.answered:
                request.respond(500, b'{"error":"the server failed; its log says how"}')

    def answered(self, request: Request) -> None:
        """A request was answered: close, or take the next one that waits."""
        if request is not self._current:
            return
        self._current = None
        if not request.keep_alive:
            if self.transport is not None:
                self.transport.close()
        elif self._queue:
            self._current = self._queue.popleft()
            asyncio.get_running_loop().call_soon(self._handle, self._current)

    def _refuse(self, status: int, body: bytes) -> None:
        """Answer what is not a request, end our side, and close once the client has ended its."""
        if self.transport is None or not self.is_open:
            return
        if self._on_refused is not None:
            self._on_refused()
        self.send(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%s" % (status, REASONS.get(status, b""), len(body), body)
        )
        self._refused = True
        self._body = []
        self.transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self.transport.close)


async def listen(
    handler: Handler,
    *,
    port: int,
    max_body_bytes: int,
    what: str,
    host: str = LOOPBACK,
    on_refused: Callable[[], None] | None = None,
    behind: Callable[[Callable[[], asyncio.Protocol]], asyncio.Protocol] | None = None,
) -> asyncio.Server:
    """Serve `handler` on `host`; `what` names the server in the sentence about a port in use.

    `behind` makes the protocol of a connection that may turn out to speak something else; it is
    given what makes ours.
    """
    loop = asyncio.get_running_loop()

    def http() -> asyncio.Protocol:
        return HttpProtocol(handler, max_body_bytes, on_refused)

    try:
        return await loop.create_server(
            http if behind is None else partial(behind, http),
            host,
            port,
            backlog=4096,
            family=socket.AF_INET,
        )
    except (OSError, OverflowError) as error:
        raise WorthitError(
            f"{what} cannot listen on {host}:{port}, {listen_problem(error)}; "
            "end what listens there or choose another port."
        ) from error


def listen_problem(error: Exception) -> str:
    """Why a port could not be had, in words."""
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror
        return PORT_IN_USE if "in use" in reason.lower() else reason
    return str(error)


def run_until_signalled(serve: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Run a server until SIGTERM or SIGINT; its exit code. An error is one line on stderr."""

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, stop.set)
        await serve(stop)

    try:
        uvloop.run(main())
    except WorthitError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    return 0
