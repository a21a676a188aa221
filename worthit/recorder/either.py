"""One port for both of OTLP's transports: whoever speaks HTTP/2 is led on to the gRPC server.

SDKs differ in their default transport, and a service is easily given the port of the other one.
gRPC speaks HTTP/2 and begins every connection with the same 24 bytes (RFC 9113, section 3.4); any
other connection is HTTP/1.1. What follows is passed on as bytes, so nothing is decoded twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from typing_extensions import override

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client of HTTP/2 sends first."""

TLS_HANDSHAKE: Final = b"\x16"
"""What a client of TLS sends first (RFC 8446, section 5.1); no HTTP method begins so."""

MOST_WAITING_BYTES: Final = 1 << 20
"""Of what one side has not taken yet; then the other is not read for a while."""


class EitherProtocol(asyncio.Protocol):
    """Looks at a connection's first bytes and hands it to who speaks its protocol."""

    def __init__(
        self,
        http: Callable[[], asyncio.Protocol],
        grpc_port: int,
        on_tls: Callable[[], None] | None = None,
    ) -> None:
        self._http = http
        self._on_tls = on_tls
        self._grpc_port = grpc_port
        self._first = b""
        self._transport: asyncio.Transport | None = None
        self._other: _Other | None = None
        self._task: asyncio.Task[None] | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    @override
    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        if self._other is not None:
            self._other.send(data)
            return
        self._first += data
        if self._first[:1] == TLS_HANDSHAKE and self._on_tls is not None:
            self._on_tls()
            self._transport.close()
            return
        if self._task is not None:  # being led on
            return
        if self._first.startswith(PREFACE[:4]) or PREFACE.startswith(self._first):
            if len(self._first) >= len(b"PRI "):
                self._task = asyncio.get_running_loop().create_task(self._lead_on())
            return
        protocol = self._http()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(self._first)

    async def _lead_on(self) -> None:
        """Connect to the gRPC server and send what has come so far."""
        transport = self._transport
        if transport is None:
            return
        try:
            _, other = await asyncio.get_running_loop().create_connection(
                lambda: _Other(transport), "127.0.0.1", self._grpc_port
            )
        except OSError:
            transport.close()
            return
        self._other = other
        other.send(self._first)
        if transport.is_closing():
            other.close()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._other is not None:
            self._other.close()

    @override
    def pause_writing(self) -> None:
        if self._other is not None:
            self._other.pause()

    @override
    def resume_writing(self) -> None:
        if self._other is not None:
            self._other.resume()


class _Other(asyncio.Protocol):
    """The connection to the gRPC server; what it answers goes back to the client."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client
        self._transport: asyncio.Transport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=MOST_WAITING_BYTES)

    @override
    def data_received(self, data: bytes) -> None:
        self._client.write(data)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._client.close()

    @override
    def pause_writing(self) -> None:
        if not self._client.is_closing():
            self._client.pause_reading()

    @override
    def resume_writing(self) -> None:
        if not self._client.is_closing():
            self._client.resume_reading()

    def send(self, data: bytes) -> None:
        """Send to the gRPC server."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """Close, once all is sent."""
        if self._transport is not None:
            self._transport.close()

    def pause(self) -> None:
        """Stop reading answers while the client does not take them."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
