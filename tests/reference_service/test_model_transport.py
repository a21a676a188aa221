"""The model transport against servers that do what servers do: chunk, hang up, hang, babble."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from reference_service.storage.model_transport import ModelTransport

pytestmark = pytest.mark.integration

Server = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Listening:
    """A server and how often it was connected to."""

    def __init__(self) -> None:
        self.url = ""
        self.connections = 0
        self.closed = asyncio.Event()


@asynccontextmanager
async def _listening(serve: Server) -> AsyncIterator[Listening]:
    found = Listening()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.connections += 1
        try:
            await serve(reader, writer)
            await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            found.closed.set()
            writer.close()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield found
    finally:
        server.close()


def _answering(*answers: bytes) -> Server:
    """Return a server that gives one answer after the other, each to one request."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            writer.write(answer)
            await writer.drain()

    return serve


async def _ask(
    transport: ModelTransport, url: str, read_seconds: float = 5.0, **headers: str
) -> bytes:
    timeouts = {"connect": 2.0, "read": read_seconds, "write": 5.0, "pool": 0.2}
    request = httpx.Request(
        "POST", f"{url}/x", content=b"{}", headers=headers, extensions={"timeout": timeouts}
    )
    response = await transport.handle_async_request(request)
    try:
        return await response.aread()
    finally:
        await response.aclose()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n" + OK


async def test_a_connection_serves_one_answer_after_the_other() -> None:
    """Answers with a length, in chunks and after an interim one come whole over one connection."""
    async with _listening(_answering(OK, CHUNKED, INTERIM, OK)) as server:
        transport = ModelTransport(server.url, max_connections=5)
        found = [await _ask(transport, server.url) for _ in range(4)]
        await transport.aclose()

    assert [b"ok", b"abcde", b"ok", b"ok"] == found
    assert 1 == server.connections


async def test_an_answer_that_ends_with_its_connection_is_whole() -> None:
    """Without a length the end of the connection is the end of the body."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end")
        writer.close()

    async with _listening(serve) as server:
        transport = ModelTransport(server.url, max_connections=5)
        found = [await _ask(transport, server.url) for _ in range(2)]

    assert ([b"to the end"] * 2, 2) == (found, server.connections)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", httpx.ReadTimeout),
        (b"", httpx.ReadTimeout),
        (b"SSH-2.0-OpenSSH\r\n\r\n", httpx.RemoteProtocolError),
    ],
    ids=["half an answer", "silence", "another protocol"],
)
async def test_an_answer_that_does_not_come_is_an_error_of_httpx(
    answer: bytes, error: type[Exception]
) -> None:
    """The caller is told by httpx's own exception, and the connection is not used again."""
    async with _listening(_answering(answer)) as server:
        transport = ModelTransport(server.url, max_connections=5)
        with pytest.raises(error):
            await _ask(transport, server.url, read_seconds=0.1)
        await asyncio.wait_for(server.closed.wait(), 2)
        await transport.aclose()

    assert 1 == server.connections


async def test_a_connection_that_breaks_in_the_body_is_an_error() -> None:
    """What was read of a longer answer is not taken for all of it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")
        writer.close()

    async with _listening(serve) as server:
        transport = ModelTransport(server.url, max_connections=5)
        with pytest.raises(httpx.ReadError):
            await _ask(transport, server.url)


async def test_a_kept_connection_that_the_server_closed_is_not_used_again() -> None:
    """Servers end connections that nobody uses; the next caller gets a new one, not an error."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _answering(OK)(reader, writer)
        writer.close()

    async with _listening(serve) as server:
        transport = ModelTransport(server.url, max_connections=5)
        found = []
        for _ in range(3):
            found.append(await _ask(transport, server.url))
            await asyncio.sleep(0.01)

    assert ([b"ok"] * 3, 3) == (found, server.connections)


async def test_an_answer_too_many_reaches_nobody() -> None:
    """A server that answers twice has its connection closed; the next caller gets its own."""
    other = OK.replace(b"ok", b"no")
    async with _listening(_answering(OK + other)) as server:
        transport = ModelTransport(server.url, max_connections=5)
        first = await _ask(transport, server.url)
        second = await _ask(transport, server.url)
        await transport.aclose()

    assert (b"ok", b"ok", 2) == (first, second, server.connections)


async def test_a_cancelled_caller_takes_its_connection_along() -> None:
    """The reply to a caller who left is read by nobody, and its place is free again."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if server.connections > 1:
            writer.write(OK)

    async with _listening(serve) as server:
        transport = ModelTransport(server.url, max_connections=1)
        asking = asyncio.create_task(_ask(transport, server.url))
        await asyncio.sleep(0.05)
        with pytest.raises(httpx.PoolTimeout):
            await _ask(transport, server.url)
        asking.cancel()
        await asyncio.wait_for(server.closed.wait(), 2)
        found = await _ask(transport, server.url)
        await transport.aclose()

    assert (b"ok", 2) == (found, server.connections)


async def test_a_server_that_is_not_there_is_told_apart() -> None:
    """A refused connection is httpx's ConnectError, and costs no place."""
    async with _listening(_answering(OK)) as server:
        transport = ModelTransport(server.url, max_connections=1)
    for _ in range(3):
        with pytest.raises(httpx.ConnectError):
            await _ask(transport, server.url)


async def test_an_answer_is_read_no_faster_than_it_is_wanted() -> None:
    """Of an endless stream whose reader sleeps, a few MiB are taken and no more."""
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < 64 << 20:
            writer.write(bytes(1 << 16))
            await writer.drain()
            sent += 1 << 16

    async with _listening(serve) as server:
        transport = ModelTransport(server.url, max_connections=1)
        request = httpx.Request(
            *("POST", f"{server.url}/x"),
            extensions={"timeout": {"connect": 2.0, "read": 5.0, "write": 5.0, "pool": 1.0}},
        )
        response = await transport.handle_async_request(request)
        await asyncio.sleep(0.3)
        taken = sent
        pieces = aiter(response.aiter_raw())
        await anext(pieces)
        await asyncio.sleep(0.1)
        await response.aclose()

    assert 1 << 20 <= taken < 16 << 20
    assert taken < sent < 64 << 20


async def test_no_header_can_add_another() -> None:
    """A line break in a header's value is refused before anything is sent."""
    async with _listening(_answering(OK)) as server:
        transport = ModelTransport(server.url, max_connections=1)
        with pytest.raises(httpx.LocalProtocolError):
            await _ask(transport, server.url, baggage="a=b\r\nX-Admin: 1")

    assert 0 == server.connections
