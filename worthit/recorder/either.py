"""One port for both of OTLP's transports: whoever speaks HTTP/2 is led on to the gRPC server.

SDKs differ in their default transport, and a service is easily given the port of the other one.
gRPC speaks HTTP/2 and begins every connection with the same 24 bytes (RFC 9113, section 3.4); any
other connection is HTTP/1.1 and uvicorn's. What follows is passed on as bytes: grpcio takes no
connection that somebody else has accepted.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from worthit import listening
from worthit.recorder.keeping import TLS, UPGRADE

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client of HTTP/2 sends first."""

TLS_HANDSHAKE: Final = b"\x16"
"""What a client of TLS sends first (RFC 8446, section 5.1); no HTTP method begins so."""

GRPC_PORT: Final = "grpc_port"
"""Key of the application's state: where on this machine the gRPC server listens."""

ON_REFUSED: Final = "on_refused"
"""Key of the application's state: what is told why something was no request, a str."""

HEAD_SECONDS: Final = 10.0
"""How long a request's line and headers may take; the body has a limit of its own."""

MOST_HEAD_BYTES: Final = 1 << 20
"""Of a request's line and headers, with what came in the same piece. uvicorn sets no limit."""

PIECE_BYTES: Final = 1 << 16
"""Read at a time from a connection that is led on."""


class EitherProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, unless the first bytes say HTTP/2; impatient with unfinished headers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*args, **kwargs)
        self._first: bytes | None = b""
        self._head_bytes = 0
        self._head_due: asyncio.TimerHandle | None = None
        self._led_on = False
        self._refused = False

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._expect_head()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._head_done()
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._first is not None:
            data = self._first + data
            if len(data) < len(PREFACE) and PREFACE.startswith(data):
                self._first = data
                return
            self._first = None
            if data.startswith(TLS_HANDSHAKE):
                self.app_state[ON_REFUSED](TLS)
                self.transport.close()
                return
            if data.startswith(PREFACE):
                self._lead_on(data)
                return
        super().data_received(data)
        if self._head_due is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES and not self._refused:
                self.send_400_response("The headers are too long.")

    @override
    def on_message_begin(self) -> None:
        self._expect_head()
        super().on_message_begin()

    @override
    def on_headers_complete(self) -> None:
        self._head_done()
        if self.parser.should_upgrade():
            # httptools skips the body of such a request: it would be taken for an empty batch
            raise ValueError(UPGRADE)
        super().on_headers_complete()

    @override
    def send_400_response(self, msg: str) -> None:
        """As uvicorn's, which closes at once: a reset would take the answer from the sender."""
        self._refused = True
        if self.parser.should_upgrade():
            msg = UPGRADE
        self.app_state[ON_REFUSED](msg)
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n"
            b"content-length: %d\r\n\r\n%s" % (len(msg), msg.encode("ascii"))
        )
        self.transport.write_eof()
        self.loop.call_later(listening.LINGER_SECONDS, self.transport.close)

    @override
    def shutdown(self) -> None:
        if self._led_on:
            self.transport.close()
        else:
            super().shutdown()

    def _expect_head(self) -> None:
        self._head_done()
        self._head_due = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _head_done(self) -> None:
        self._head_bytes = 0
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _lead_on(self, first: bytes) -> None:
        """Make the connection a pair of streams, and connect those with the gRPC server's."""
        self._head_done()
        self._led_on = True
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        reader.feed_data(first)
        writer = asyncio.StreamWriter(self.transport, protocol, reader, self.loop)
        task = self.loop.create_task(_connect(reader, writer, self.app_state[GRPC_PORT]))
        self.tasks.add(task)
        task.add_done_callback(self._led_to_end)

    def _led_to_end(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self.connections.discard(self)


async def _connect(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, grpc_port: int
) -> None:
    """Pass bytes on both ways until either side ends."""
    try:
        from_grpc, to_grpc = await asyncio.open_connection(listening.LOOPBACK, grpc_port)
    except OSError:
        writer.close()
        return
    await asyncio.gather(_pass_on(reader, to_grpc), _pass_on(from_grpc, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(PIECE_BYTES):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
