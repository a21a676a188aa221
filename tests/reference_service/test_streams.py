"""Streamed replies that end early, slow readers, and the limit of concurrent chats."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator

import httpx
import pytest
from opentelemetry.trace import SpanKind, StatusCode
from starlette.types import Message

from reference_service.application import create_app
from reference_service.errors import ModelTimeoutError
from reference_service.handlers.event_stream import EventStream, Item
from tests.support.servers.chat_servers import ChatServers
from tests.support.servers.model_stub import events, model, pieces, whole
from tests.support.traces.span_sink import attributes
from worthit.environment.service import Service

pytestmark = pytest.mark.integration

BODY = {"message": "Hi", "personality_name": "elara"}
PIECE = b'{"model":"m","choices":[{"delta":{"content":"Hel"},"finish_reason":null}]}'
BROKEN = events(b'{"error":{"message":"out of memory"}}', b"[DONE]")


async def test_a_stream_that_breaks_is_no_stored_turn_and_a_failed_request(
    servers: ChatServers,
) -> None:
    """The reader is told by `error`, nothing is stored, and span and metric count a failure."""
    async with (
        model(whole(b"{}"), pieces(events(PIECE), BROKEN, pause_seconds=0.05)) as server,
        servers.parts(llm_base_url=server.url) as (parts, sink),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(parts)), base_url="http://service"
        ) as client,
    ):
        headers = {"X-User-Id": "broken-stream"}
        answered = await client.post("/chat", json={**BODY, "stream": True}, headers=headers)
        metrics = (await client.get("/metrics")).text

    assert 200 == answered.status_code
    assert ["event: delta", "event: error"] == [
        line for line in answered.text.splitlines() if line.startswith("event")
    ]
    assert [] == servers.rows("SELECT id FROM turns WHERE user_id = 'broken-stream'")
    [root] = [span for span in sink.spans if span.kind is SpanKind.SERVER]
    assert StatusCode.ERROR is root.status.status_code
    found = attributes(root)
    assert (200, "ModelUnavailableError") == (
        found["http.response.status_code"],
        found["error.type"],
    )
    counted = [
        line
        for line in metrics.splitlines()
        if line.startswith("http_server_request_duration_seconds_count")
    ]
    assert [True] == ['error_type="ModelUnavailableError"' in line for line in counted]


class _Pieces:
    """A reply in pieces, and whether it was stored, closed, or both."""

    def __init__(self) -> None:
        self.stored = self.closed = False

    async def give(self, *, fails: bool = False) -> AsyncGenerator[Item, None]:
        """Give three pieces."""
        try:
            yield "a"
            yield "b"
            if fails:
                raise ModelTimeoutError
            self.stored = True
            yield "c"
        finally:
            self.closed = True


class _Connection:
    """What a server sends to; after some messages its reader stops reading."""

    def __init__(self, taken: int) -> None:
        self._taken = taken
        self.sent: list[Message] = []
        self.stuck = asyncio.Event()

    async def send(self, message: Message) -> None:
        """Take a message, or wait for ever."""
        if len(self.sent) == self._taken:
            self.stuck.set()
            await asyncio.Event().wait()
        self.sent.append(message)


async def _never() -> Message:
    raise AssertionError("a stream asks for nothing")


async def _streamed(pieces_: AsyncGenerator[Item, None], connection: _Connection) -> None:
    first = await anext(pieces_)
    stream = EventStream(first, pieces_, reader_seconds=0.05)
    await stream({"type": "http"}, _never, connection.send)


@pytest.mark.parametrize("taken", [1, 2, 3], ids=["head", "first", "second"])
async def test_a_reader_that_stops_reading_does_not_keep_the_turn(taken: int) -> None:
    """Whatever was the last it took, the reply is read to its end, stored, and its place free."""
    reply, connection = _Pieces(), _Connection(taken)
    await asyncio.wait_for(_streamed(reply.give(), connection), 2)

    assert (True, True, taken) == (reply.stored, reply.closed, len(connection.sent))


async def test_a_cancelled_stream_leaves_no_generator_behind() -> None:
    """Spans and places of the reply are given back before its task has ended, not by chance."""
    reply, connection = _Pieces(), _Connection(2)
    task = asyncio.create_task(_streamed(reply.give(), connection))
    await connection.stuck.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (False, True) == (reply.stored, reply.closed)


async def test_a_reply_that_fails_ends_with_its_error() -> None:
    """A failure between two pieces is the last event, and the stream ends as it should."""
    reply, connection = _Pieces(), _Connection(99)
    await _streamed(reply.give(fails=True), connection)

    bodies = [message.get("body", b"") for message in connection.sent]
    assert b"event: error" in bodies[-2]
    assert {"type": "http.response.body", "body": b"", "more_body": False} == connection.sent[-1]


def _ask(service: Service, user: str, *, stream: bool = False) -> tuple[httpx.Response, float]:
    began = time.perf_counter()
    body, headers = {**BODY, "stream": stream}, {"X-User-Id": user}
    answered = httpx.post(f"{service.url}/chat", json=body, headers=headers, timeout=10)
    return answered, time.perf_counter() - began


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_who_comes_beyond_the_limit_is_told_at_once(
    servers: ChatServers,
    stream: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """With two under way the third gets 503 and Retry-After, and neither model nor database."""
    users = [f"limit-{number}-{stream}" for number in range(3)]
    inside: list[httpx.Response] = []
    with servers.service(CHATS_MAX_IN_FLIGHT="2") as service:
        servers.call(servers.llm.fault(kind="chat", extra_ms=1500))
        try:
            threads = [
                threading.Thread(
                    target=lambda user=user: inside.append(_ask(service, user, stream=stream)[0])
                )
                for user in users[:2]
            ]
            for thread in threads:
                thread.start()
            time.sleep(0.7)
            shed, seconds = _ask(service, users[2])
            for thread in threads:
                thread.join()
        finally:
            servers.call(servers.llm.fault())
        after, _ = _ask(service, users[2])
        metrics = httpx.get(f"{service.url}/metrics").text.splitlines()

    assert (503, "overloaded", "1") == (
        shed.status_code,
        shed.json()["error"],
        shed.headers["retry-after"],
    )
    assert seconds < 0.5
    assert [200, 200, 200] == [answer.status_code for answer in (*inside, after)]
    assert {"chat_shed_total 1.0", "chat_in_flight 0.0"} <= set(metrics)
    stored = servers.rows("SELECT user_id FROM turns WHERE user_id = ANY(%s)", users)
    assert [(user,) for user in users] == sorted(stored)


def test_failed_chats_give_their_place_back(servers: ChatServers) -> None:
    """With one place, one failure after the other is answered with its own error."""
    servers.call(servers.llm.fault(kind="chat", status=400, rate=1.0))
    try:
        with servers.service(CHATS_MAX_IN_FLIGHT="1") as service:
            found = [
                _ask(service, "fails", stream=stream)[0].status_code
                for stream in (False, True, False, True)
            ]
    finally:
        servers.call(servers.llm.fault())

    assert [502] * 4 == found
