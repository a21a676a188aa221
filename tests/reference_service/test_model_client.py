"""The model client against servers that fail half-way, trickle, refuse and leave things out."""

from __future__ import annotations

import asyncio
import time

import pytest
from opentelemetry.context import attach, detach

from reference_service.errors import (
    ModelError,
    ModelOverloadedError,
    ModelRefusedError,
    ModelTimeoutError,
    ModelUnavailableError,
    OverloadedError,
    ServiceError,
)
from reference_service.storage.model_client import ModelClient
from reference_service.telemetry.load_baggage import caller_context
from tests.support.servers.model_stub import MESSAGES, events, model, pieces, whole
from tests.support.traces.span_sink import attributes

pytestmark = pytest.mark.integration

PIECE = b'{"model":"m","choices":[{"delta":{"content":"Hel"},"finish_reason":null}]}'
LAST = b'{"model":"m","choices":[{"delta":{"content":"lo"},"finish_reason":"stop"}]}'
USAGE = b'{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}'
DONE = b"[DONE]"
REPLY = b'{"choices":[{"message":{"content":"Hello"}}]}'


async def _streamed(client: ModelClient) -> str:
    async with client.stream(MESSAGES) as streamed:
        async for _ in streamed:
            pass
    return streamed.completion().text


async def test_a_stream_that_says_why_it_ended_is_a_reply() -> None:
    """Pieces, a reason and the end, however they are cut, make the whole text."""
    whole_stream = events(PIECE, LAST, USAGE, DONE)
    cut = [whole_stream[i : i + 7] for i in range(0, len(whole_stream), 7)]
    async with model(pieces(*cut)) as server:
        client = server.client()
        found = await _streamed(client)
        await client.close()

    assert "Hello" == found


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        ((PIECE, b'{"error":{"message":"CUDA out of memory"}}', DONE), ModelUnavailableError),
        ((PIECE, b'{"error":{"message":"wait","code":429}}', DONE), ModelOverloadedError),
        ((b'{"error":{"message":"too long","code":400}}', DONE), ModelRefusedError),
        ((PIECE, b'{"error":"out of memory","choices":[]}', DONE), ModelUnavailableError),
        ((PIECE, DONE), ModelUnavailableError),
        ((DONE,), ModelUnavailableError),
        ((PIECE, LAST), ModelUnavailableError),
    ],
    ids=["error", "busy", "refused", "error as text", "no reason", "nothing", "no end"],
)
async def test_half_a_stream_is_no_reply(sent: tuple[bytes, ...], error: type[Exception]) -> None:
    """An error in the stream, or an end without a reason, is an error here, whatever follows."""
    async with model(pieces(events(*sent))) as server:
        client = server.client()
        with pytest.raises(error):
            await _streamed(client)
        await client.close()

    [span] = server.spans.named("chat sim-chat")
    assert error.__qualname__ == attributes(span)["error.type"]


async def test_an_error_with_status_200_is_no_reply() -> None:
    """What a proxy reports in the body of a 200 is told apart as its code says."""
    async with model(whole(b'{"error":{"message":"no","code":503}}')) as server:
        client = server.client()
        with pytest.raises(ModelOverloadedError):
            await client.chat(MESSAGES)
        await client.close()


@pytest.mark.parametrize("kind", ["chat", "embed", "stream"])
async def test_a_server_that_only_keeps_the_line_warm_is_given_up_in_time(kind: str) -> None:
    """White space every 50 ms holds no caller beyond the timeout, and gives the place back."""
    async with model(pieces(*[b" "] * 100, pause_seconds=0.05), whole(REPLY)) as server:
        client = server.client(seconds=0.3, max_connections=1)
        began = time.perf_counter()
        with pytest.raises(ModelTimeoutError):
            await {"chat": _chat, "embed": _embed, "stream": _streamed}[kind](client)
        seconds = time.perf_counter() - began
        after = await client.chat(MESSAGES)
        await client.close()

    assert 0.2 < seconds < 1.0
    assert "Hello" == after.text


async def _chat(client: ModelClient) -> object:
    return await client.chat(MESSAGES)


async def _embed(client: ModelClient) -> object:
    return await client.embed("Hi")


async def test_the_deadline_is_for_all_attempts_together() -> None:
    """A server that refuses slowly is not asked again beyond the timeout."""

    async def slow_refusal(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.25)
        await whole(b"{}", status=500)(writer)

    async with model(slow_refusal) as server:
        client = server.client(seconds=0.4, retries=5)
        began = time.perf_counter()
        with pytest.raises(ModelTimeoutError):
            await client.chat(MESSAGES)
        seconds = time.perf_counter() - began
        await client.close()

    assert 0.3 < seconds < 1.0


@pytest.mark.parametrize(
    ("status", "error", "attempts"),
    [
        (400, ModelRefusedError, 1),
        (401, ModelRefusedError, 1),
        (404, ModelRefusedError, 1),
        (422, ModelRefusedError, 1),
        (408, ModelUnavailableError, 3),
        (409, ModelUnavailableError, 3),
        (425, ModelUnavailableError, 3),
        (429, ModelOverloadedError, 3),
        (500, ModelUnavailableError, 3),
        (503, ModelOverloadedError, 3),
        (504, ModelTimeoutError, 1),
        (529, ModelUnavailableError, 3),
    ],
)
async def test_what_would_be_refused_again_is_not_asked_again(
    status: int, error: type[ServiceError], attempts: int
) -> None:
    """Only a refusal of the moment, or a broken server, is worth another attempt."""
    async with model(whole(b"{}", status)) as server:
        client = server.client()
        with pytest.raises(ModelError) as failed:
            await client.chat(MESSAGES)
        await client.close()

    assert (error, attempts) == (type(failed.value), len(server.requests))
    assert str(status) in str(failed.value)


async def test_a_refusal_is_explained_in_the_log_and_not_to_the_user() -> None:
    """A wrong key is named to who runs the service; the user is not told to try again."""
    async with model(whole(b"{}", 401)) as server:
        client = server.client()
        with pytest.raises(ModelRefusedError) as failed:
            await client.chat(MESSAGES)
        await client.close()

    assert "LLM_API_KEY" in str(failed.value)
    assert (502, "model_refused", None) == (
        failed.value.status,
        failed.value.code,
        failed.value.retry_after_seconds,
    )
    assert "try again" not in failed.value.message


async def test_a_queue_of_our_own_is_our_own_overload() -> None:
    """Who finds all connections taken gets 503 overloaded, and the server is not asked."""
    async with model(pieces(b"")) as server:
        client = server.client(max_connections=1)
        holding = asyncio.create_task(client.chat(MESSAGES))
        await asyncio.sleep(0.1)
        with pytest.raises(OverloadedError):
            await client.chat(MESSAGES)
        holding.cancel()
        await client.close()

    assert 1 == len(server.requests)


async def test_a_slow_reader_uses_up_no_deadline() -> None:
    """What passes between two pieces is the reader's time, and nobody cancels the reader then."""
    stream = pieces(events(PIECE), events(LAST, DONE), pause_seconds=0.05)
    async with model(stream) as server:
        client = server.client(seconds=0.3)
        async with client.stream(MESSAGES) as streamed:
            async for _ in streamed:
                await asyncio.sleep(0.4)
        await client.close()

    assert "Hello" == streamed.completion().text


async def test_a_reader_that_leaves_takes_the_connection_along() -> None:
    """A stream left half-way gives its place back, and the next caller is answered."""
    async with model(pieces(events(PIECE), b""), whole(REPLY)) as server:
        client = server.client(max_connections=1)
        async with client.stream(MESSAGES) as streamed:
            first = await anext(streamed)
        after = await client.chat(MESSAGES)
        await client.close()

    assert ("Hel", "Hello") == (first, after.text)


async def test_what_the_server_does_not_say_is_not_recorded() -> None:
    """Without usage, model and reason the span has none of them."""
    embedding = b'{"data":[{"embedding":[0.5,0.5]}]}'
    async with model(whole(REPLY), pieces(events(LAST, DONE)), whole(embedding)) as server:
        client = server.client()
        for ask in (_chat, _streamed, _embed):
            await ask(client)
        await client.close()

    chat, streamed, embedded = [attributes(span) for span in server.spans.spans]
    said = ("gen_ai.response.model", "gen_ai.response.finish_reasons", "gen_ai.usage.input_tokens")
    assert [] == [key for key in said if key in chat]
    assert [] == [key for key in embedded if key.startswith(("gen_ai.response", "gen_ai.usage"))]
    assert ["stop"] == streamed["gen_ai.response.finish_reasons"]
    assert "gen_ai.usage.output_tokens" not in streamed


async def test_usage_is_recorded_as_far_as_it_is_there() -> None:
    """A stream whose usage lacks the output's tokens gives the input's, and is a reply."""
    partly = b'{"choices":[],"usage":{"prompt_tokens":7,"total_tokens":9}}'
    async with model(pieces(events(LAST, partly, DONE))) as server:
        client = server.client()
        await _streamed(client)
        await client.close()

    [span] = server.spans.spans
    assert 7 == attributes(span)["gen_ai.usage.input_tokens"]
    assert "gen_ai.usage.output_tokens" not in attributes(span)


async def test_only_the_loads_own_baggage_reaches_the_model() -> None:
    """A model server, which may be anybody's, is told nothing else that the caller sent."""
    given = {"baggage": "session=secret,worthit.draw=7,worthit.key=x,worthit.arm=on;p=1"}
    async with model(whole(REPLY)) as server:
        client = server.client()
        token = attach(caller_context(given))
        try:
            await client.chat(MESSAGES)
        finally:
            detach(token)
        await client.close()

    [head] = server.requests
    [line] = [line for line in head.split("\r\n") if line.startswith("baggage: ")]
    assert {"worthit.draw=7", "worthit.arm=on"} == set(line.removeprefix("baggage: ").split(","))
    assert "secret" not in head
