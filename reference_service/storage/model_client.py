"""Chat completions and embeddings of any OpenAI-compatible server, over httpx.

httpx's own connection pool looks at every connection for every request; with 500 in flight that
alone costs more than the rest of the request. So the transport is another (`model_transport.py`),
and it is called directly: httpx's client around it (cookies, redirects, authentication) costs
0.1 ms a call and does nothing here. See docs/decisions/model-client.md.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

import httpx
import orjson

from reference_service.errors import (
    ModelOverloadedError,
    ModelTimeoutError,
    ModelUnavailableError,
    OverloadedError,
)
from reference_service.models import Completion
from reference_service.resilience.retry_budget import RetryBudget
from reference_service.storage import openai_api
from reference_service.storage.model_transport import ModelTransport
from reference_service.storage.vectors import FloatArray
from reference_service.telemetry import names
from reference_service.telemetry.model_metrics import ModelMetrics
from reference_service.telemetry.request_context import REQUEST
from reference_service.telemetry.spans import Span, SpanShape, Tracer

_CONNECT_TIMEOUT_SECONDS: Final = 2.0
"""A server that is there accepts within this; one that is not is reported before the user gives
up."""
_POOL_TIMEOUT_SECONDS: Final = 1.0
_BACKOFF_SECONDS: Final = 0.05
_EMULATED_HEADER: Final = b"worthit-emulated-ns"
"""A simulated model server owns up to what it only waited for; a real one never sends this."""
_MAX_DIGITS: Final = 19
"""Of a number below 2^63, as span attributes are."""
Message = dict[str, str]


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """One kind of call."""

    url: httpx.URL
    seconds: float
    """For a call with all its attempts, from the first byte sent to the last one read. The
    transport's timeouts begin anew with each byte that comes, and a proxy that only keeps the
    connection warm sends one every few seconds."""
    timeouts: Mapping[str, float]
    """The transport's."""
    shape: SpanShape


class ModelClient:
    """One model server: bounded connections, timeouts, and retries that a budget limits."""

    def __init__(
        self,
        base_url: str,
        *,
        tracer: Tracer,
        metrics: ModelMetrics,
        budget: RetryBudget,
        rng: random.Random,
        chat_model: str,
        embedding_model: str,
        dimensions: int,
        provider: str,
        api_key: str | None,
        chat_timeout_seconds: float,
        embedding_timeout_seconds: float,
        retries: int,
        max_connections: int,
    ) -> None:
        self._tracer = tracer
        self._metrics = metrics
        self._budget = budget
        self._rng = rng
        self._chat_model = chat_model
        self._embedding_model = embedding_model
        self._dimensions = dimensions
        self._retries = retries
        self._transport = ModelTransport(base_url, max_connections=max_connections)
        parts = urlsplit(base_url)
        address = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)

        def endpoint(path: str, operation: str, model: str, seconds: float) -> _Endpoint:
            return _Endpoint(
                httpx.URL(base_url.rstrip("/") + path),
                seconds,
                _timeouts(seconds),
                names.model_shape(
                    operation=operation, model=model, provider=provider, address=address, port=port
                ),
            )

        self._chat = endpoint("/chat/completions", "chat", chat_model, chat_timeout_seconds)
        self._embeddings = endpoint(
            "/embeddings", "embeddings", embedding_model, embedding_timeout_seconds
        )
        self._headers = _headers(self._chat.url, api_key)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def chat(self, messages: list[Message]) -> Completion:
        """Return the model's reply.

        Raises ModelError, or OverloadedError when this process has too many calls under way.
        """
        body = orjson.dumps({"model": self._chat_model, "messages": messages})
        with self._tracer.span(self._chat.shape) as span, self._metrics.chat() as measured:
            content = await self._post(self._chat, body, span)
            completion = openai_api.completion(content)
            _note_completion(span, completion)
            measured.tokens(completion.input_tokens, completion.output_tokens)
            return completion

    @asynccontextmanager
    async def stream(self, messages: list[Message]) -> AsyncIterator[openai_api.Streamed]:
        """Open a streamed reply: iterate over its pieces, then ask it for the whole.

        Raises as `chat`, also while it is iterated over; what the reader does between two pieces
        counts for no deadline. A broken stream is not retried: the user has read a part of it.
        """
        body = orjson.dumps(
            {
                "model": self._chat_model,
                "messages": messages,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        )
        with self._tracer.span(self._chat.shape) as span, self._metrics.chat() as measured:
            clock = asyncio.get_running_loop().time
            end = clock() + self._chat.seconds
            response = await self._opened(self._chat, body, span)
            try:
                streamed = openai_api.Streamed(_Paced(_chunks(response), end - clock()))
                yield streamed
            finally:
                await response.aclose()
            completion = streamed.completion()
            _note_completion(span, completion)
            measured.tokens(completion.input_tokens, completion.output_tokens)

    async def embed(self, text: str) -> FloatArray:
        """Return the text's embedding. Raises as `chat`."""
        body = orjson.dumps(
            {
                "model": self._embedding_model,
                "input": text,
                "encoding_format": "base64",
                "dimensions": self._dimensions,
            }
        )
        with self._tracer.span(self._embeddings.shape) as span, self._metrics.embeddings() as one:
            content = await self._post(self._embeddings, body, span)
            embedding = openai_api.embedding(content, self._dimensions)
            _note(span, "gen_ai.response.model", embedding.model)
            _note(span, "gen_ai.usage.input_tokens", embedding.input_tokens)
            one.tokens(embedding.input_tokens)
            return FloatArray(embedding.packed)

    async def _post(self, endpoint: _Endpoint, body: bytes, span: Span) -> bytes:
        """Return the whole body of an answer with status 200."""
        try:
            async with asyncio.timeout(endpoint.seconds):
                response = await self._open(endpoint, body, span)
                try:
                    with _transport_errors():
                        return await _content(response)
                finally:
                    await response.aclose()
        except TimeoutError as error:
            raise ModelTimeoutError("the answer was not whole in time") from error

    async def _opened(self, endpoint: _Endpoint, body: bytes, span: Span) -> httpx.Response:
        """Return what `_open` does, in time."""
        try:
            async with asyncio.timeout(endpoint.seconds):
                return await self._open(endpoint, body, span)
        except TimeoutError as error:
            raise ModelTimeoutError("the answer did not begin in time") from error

    async def _open(self, endpoint: _Endpoint, body: bytes, span: Span) -> httpx.Response:
        """Return a response with status 200, its body unread, after some attempts."""
        self._budget.request()
        for attempt in range(self._retries + 1):
            try:
                return await self._open_once(endpoint, body, span)
            except (ModelUnavailableError, ModelOverloadedError):
                if attempt == self._retries or not self._budget.may_retry():
                    raise
                span.set("http.request.resend_count", attempt + 1)
                await asyncio.sleep(_BACKOFF_SECONDS * 2**attempt * self._rng.uniform(0.5, 1.5))
        raise AssertionError("the loop above returns or raises")

    async def _open_once(self, endpoint: _Endpoint, body: bytes, span: Span) -> httpx.Response:
        request = httpx.Request(
            "POST",
            endpoint.url,
            headers=self._headers_of(span, body),
            stream=httpx.ByteStream(body),
            extensions={"timeout": endpoint.timeouts},
        )
        with _transport_errors():
            response = await self._transport.handle_async_request(request)
        if response.status_code != httpx.codes.OK:
            await response.aclose()
            raise openai_api.refusal(response.status_code)
        for name, value in response.headers.raw:
            if name.lower() == _EMULATED_HEADER and value.isdigit() and len(value) < _MAX_DIGITS:
                span.add_emulated(int(value))
        return response

    def _headers_of(self, span: Span, body: bytes) -> list[tuple[bytes, bytes]]:
        """Return the headers of a call: this span's context, or else the caller's as it came.

        Of the baggage only the load's own members (`RequestContext`): the rest is between others.
        """
        headers = [*self._headers, (b"Content-Length", b"%d" % len(body))]
        request = REQUEST.get()
        if span.is_recording():
            headers.append((b"traceparent", span.traceparent().encode()))
        elif request is not None and request.traceparent:
            headers.append((b"traceparent", request.traceparent.encode()))
        if request is not None and request.baggage:
            headers.append((b"baggage", request.baggage.encode()))
        return headers


class _transport_errors:  # noqa: N801 - used as a verb, with `with`
    """Turns httpx's exceptions into the service's own; a class costs less than a generator."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, httpx.PoolTimeout):  # the queue is here: the server was not asked
            raise OverloadedError("no free connection to the model server in time") from error
        if isinstance(error, httpx.ConnectTimeout):
            raise ModelUnavailableError(type(error).__name__) from error
        if isinstance(error, httpx.TimeoutException):
            raise ModelTimeoutError(type(error).__name__) from error
        if isinstance(error, httpx.HTTPError):
            raise ModelUnavailableError(type(error).__name__) from error


class _Paced:
    """A stream's chunks, in time; the clock stands still while nobody waits for one.

    Nor is anybody cancelled then: a timeout around the whole stream would strike whatever its
    reader is waiting for.
    """

    def __init__(self, chunks: AsyncIterator[bytes], seconds: float) -> None:
        self._chunks = chunks
        self._left = seconds

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(self._left):
                with _transport_errors():
                    return await anext(self._chunks)
        except TimeoutError as error:
            raise ModelTimeoutError("the stream did not end in time") from error
        finally:
            self._left -= clock() - began


def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    """Give the body; httpx's own reading costs 40 us more, to decode what nobody encoded."""
    if "content-encoding" in response.headers:
        return response.aiter_bytes()
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - the transport's
    return aiter(stream)


async def _content(response: httpx.Response) -> bytes:
    return b"".join([piece async for piece in _chunks(response)])


def _headers(url: httpx.URL, api_key: str | None) -> list[tuple[bytes, bytes]]:
    """What every call of one server carries."""
    headers = [(b"Host", url.netloc), (b"Content-Type", b"application/json")]
    if api_key:
        headers.append((b"Authorization", f"Bearer {api_key}".encode()))
    return headers


def _timeouts(read_seconds: float) -> dict[str, float]:
    return {
        "connect": _CONNECT_TIMEOUT_SECONDS,
        "read": read_seconds,
        "write": read_seconds,
        "pool": _POOL_TIMEOUT_SECONDS,
    }


def _note_completion(span: Span, completion: Completion) -> None:
    _note(span, "gen_ai.response.model", completion.model)
    _note(span, "gen_ai.usage.input_tokens", completion.input_tokens)
    _note(span, "gen_ai.usage.output_tokens", completion.output_tokens)
    if completion.finish_reason is not None:
        span.set("gen_ai.response.finish_reasons", (completion.finish_reason,))


def _note(span: Span, key: str, value: str | int | None) -> None:
    """Set what the server said, and nothing for what it did not say."""
    if value is not None:
        span.set(key, value)
