"""HTTP/1.1 to one server, as an httpx transport whose cost is constant in requests in flight.

One write a request, one wake-up an answer that comes in one piece, and a dict of idle connections:
nothing here looks at more than one connection. httptools (C) parses. Connections are used again
only after an answer has been read to its end; any other end, a cancelled caller's too, closes
them. See docs/decisions/model-client.md.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import Any, Final, Self

import httptools
import httpx
from typing_extensions import override

_KEEPALIVE_SECONDS: Final = 60.0
"""How long a connection is kept that nobody uses."""
_BUFFERED_BYTES: Final = 1 << 20
"""Of an answer that is read more slowly than it comes; above it the server has to wait."""
_FIRST_FINAL_STATUS: Final = 200
"""Below are interim answers, such as 100 Continue; another one follows them."""


class ModelTransport(httpx.AsyncBaseTransport):
    """A bounded set of kept connections to one origin."""

    def __init__(self, base_url: str, *, max_connections: int) -> None:
        url = httpx.URL(base_url)
        self._host = url.host
        self._ssl = ssl.create_default_context() if url.scheme == "https" else None
        self._port = url.port or (443 if self._ssl else 80)
        self._places = asyncio.Semaphore(max_connections)
        self._idle: dict[_Connection, float] = {}
        """Since when, in seconds of the loop's clock; the one used last stands last."""

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the answer, its body unread; raises httpx.TransportError."""
        timeouts = request.extensions["timeout"]
        data = _head(request) + await request.aread()
        await self._place(timeouts["pool"])
        connection: _Connection | None = None
        try:
            connection = await self._connection(timeouts["connect"])
            await connection.ask(data, timeouts["read"])
        except BaseException:
            self._release(connection)
            raise
        return httpx.Response(
            connection.status, headers=connection.headers, stream=_Body(self, connection)
        )

    @override
    async def aclose(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.popitem()[0].abort()

    def forget(self, connection: _Connection) -> None:
        """The server closed a connection."""
        self._idle.pop(connection, None)

    def release(self, connection: _Connection) -> None:
        """An answer was read, or given up."""
        self._release(connection)

    def _release(self, connection: _Connection | None) -> None:
        self._places.release()
        if connection is None:
            return
        if not connection.reusable:
            connection.abort()
            return
        now = asyncio.get_running_loop().time()
        self._idle[connection] = now
        oldest, since = next(iter(self._idle.items()))
        if now - since > _KEEPALIVE_SECONDS:
            del self._idle[oldest]
            oldest.abort()

    async def _place(self, seconds: float) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        try:
            async with asyncio.timeout(seconds):
                await self._places.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("no free connection in time") from error

    async def _connection(self, seconds: float) -> _Connection:
        while self._idle:
            kept, _ = self._idle.popitem()
            if kept.open:
                return kept
        try:
            async with asyncio.timeout(seconds):
                _, made = await asyncio.get_running_loop().create_connection(
                    lambda: _Connection(self), self._host, self._port, ssl=self._ssl
                )
        except TimeoutError as error:
            raise httpx.ConnectTimeout("no connection in time") from error
        except OSError as error:
            raise httpx.ConnectError(type(error).__name__) from error
        return made


class _Body(httpx.AsyncByteStream):
    """An answer's body; closing it, read or not, gives the connection back."""

    def __init__(self, transport: ModelTransport, connection: _Connection) -> None:
        self._transport = transport
        self._connection: _Connection | None = connection

    @override
    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece; an iterator that is left half-way leaves no generator behind."""
        piece = b"" if self._connection is None else await self._connection.piece()
        if not piece:
            raise StopAsyncIteration
        return piece

    @override
    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._transport.release(connection)


class _Connection(asyncio.Protocol):
    """One connection, with at most one request on its way."""

    def __init__(self, owner: ModelTransport) -> None:
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: Any = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._seconds = 0.0
        self._heard = 0.0
        self._error: httpx.TransportError | None = None
        self._pieces: deque[bytes] = deque()
        self._buffered = 0
        self._paused = self._begun = self._complete = self._kept = False
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []

    @property
    def open(self) -> bool:
        """Whether it can be written to, as far as is known."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def reusable(self) -> bool:
        """Whether the last answer has been read to its end and the server keeps the connection."""
        return (
            self._complete
            and not self._pieces
            and self._error is None
            and self._transport is not None
            and self._kept
        )

    async def ask(self, data: bytes, seconds: float) -> None:
        """Send a request and wait for the answer's head; raises httpx.TransportError."""
        if self._transport is None:
            raise httpx.WriteError("the server closed the connection")
        self._begun = self._complete = False
        self._seconds, self._heard = seconds, self._loop.time()
        self._timer = self._loop.call_later(seconds, self._look)
        self._transport.write(data)
        while not self._begun:
            await self._wait()

    async def piece(self) -> bytes:
        """Return the next piece of the body, empty at its end; raises httpx.TransportError."""
        while not self._pieces:
            if self._complete:
                return b""
            await self._wait()
        pieces, self._pieces = self._pieces, deque()
        self._buffered = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def abort(self) -> None:
        """Close at once."""
        self._ended()
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: httpx.TransportError) -> None:
        self._ended()
        if self._error is None and not self._complete:
            self._error = error
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    def _ended(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Give up when nothing was heard for too long; who is read slowly is not late."""
        now = self._loop.time()
        if self._paused:
            self._heard = now
        left = self._heard + self._seconds - now
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
            return
        self._timer = None
        self._fail(httpx.ReadTimeout("no answer in time"))

    # What the event loop calls.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # TCP's is a Transport

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._owner.forget(self)
        if self._begun and not self._complete and self._until_closed():
            self.on_message_complete()
        elif not self._complete:
            self._fail(httpx.ReadError("the server closed the connection"))

    @override
    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        if self._complete:  # nothing was asked: whatever this is, it answers no request
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(httpx.RemoteProtocolError("the answer is not HTTP"))
            self.abort()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """An answer begins."""
        if self._complete:  # a second one to one request
            self._error = httpx.RemoteProtocolError("the server sent an answer too many")
            return
        self.headers = []
        self._pieces.clear()
        self._buffered = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        if not self._complete:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """All headers are here."""
        if self._complete:
            return
        self.status = self._parser.get_status_code()
        if self.status >= _FIRST_FINAL_STATUS:
            self._begun = True
            self._wake()

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        if self._complete:
            return
        self._pieces.append(piece)
        self._buffered += len(piece)
        if self._buffered > _BUFFERED_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self._begun:
            self._complete = True
            self._kept = bool(self._parser.should_keep_alive())  # the parser forgets it after this
            self._ended()
            self._wake()

    def _until_closed(self) -> bool:
        """Whether the body ends with the connection: it has no length and is not chunked."""
        framing = (b"content-length", b"transfer-encoding")
        return not any(name.lower() in framing for name, _ in self.headers)


def _head(request: httpx.Request) -> bytes:
    """Return the request line and the headers, which no value may have added to."""
    pairs = request.headers.raw
    lines = b"".join([b"%b: %b\r\n" % pair for pair in pairs])
    if lines.count(b"\n") != len(pairs) or lines.count(b"\r") != len(pairs):
        raise httpx.LocalProtocolError("a header holds a line break")
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (
        request.method.encode("ascii"),
        request.url.raw_path,
        lines,
    )
