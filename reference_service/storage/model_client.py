"""Chat completions and embeddings of any OpenAI-compatible server, over httpx.

The transport is aiohttp's, by httpx-aiohttp: httpx's own connection pool looks at every connection
for every request, which with 50 in flight costs more than the rest of the call.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Final, Self
from urllib.parse import urlsplit

import aiohttp
import httpx
import orjson
from httpx_aiohttp import AiohttpTransport
from opentelemetry import propagate
from opentelemetry.trace import Span, SpanKind, Tracer

from reference_service.errors import (
    ModelOverloadedError,
    ModelTimeoutError,
    ModelUnavailableError,
    OverloadedError,
)
from reference_service.models import Completion
from reference_service.resilience.retry_budget import RetryBudget
from reference_service.storage import openai_api
from reference_service.storage.vectors import FloatArray
from reference_service.telemetry import names
from reference_service.telemetry.metrics import Instruments
from reference_service.telemetry.spans import recorded

_CONNECT_TIMEOUT_SECONDS: Final = 2.0
"""A server that is there accepts within this; one that is not is reported before the user gives
up."""
_BACKOFF_SECONDS: Final = 0.05
_EMULATED_HEADER: Final = "worthit-emulated-ns"
"""A simulated model server owns up to what it only waited for; a real one never sends this."""
_MAX_DIGITS: Final = 19
"""Of a number below 2^63, as span attributes are."""
Message = dict[str, str]


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """One kind of call."""

    url: str
    name: str
    """Of the span."""
    seconds: float
    """For a call with all its attempts, from the first byte sent to the last one read. httpx's
    timeouts begin anew with each byte that comes, and a proxy that only keeps the connection warm
    sends one every few seconds."""
    attributes: names.Attributes


class ModelClient:
    """One model server: bounded connections, timeouts, and retries that a budget limits."""

    def __init__(
        self,
        base_url: str,
        *,
        tracer: Tracer,
        instruments: Instruments,
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
        self._duration = instruments.model_duration
        self._budget = budget
        self._rng = rng
        self._chat_model = chat_model
        self._embedding_model = embedding_model
        self._dimensions = dimensions
        self._retries = retries
        self._max_connections = max_connections
        self._calls = 0
        headers = {"Content-Type": "application/json"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        self._http = httpx.AsyncClient(
            transport=AiohttpTransport(limits=httpx.Limits(max_connections=max_connections)),
            headers=headers,
        )
        parts = urlsplit(base_url)

        def endpoint(path: str, operation: str, model: str, seconds: float) -> _Endpoint:
            return _Endpoint(
                base_url.rstrip("/") + path,
                f"{operation} {model}",
                seconds,
                names.model(
                    operation=operation,
                    model=model,
                    provider=provider,
                    address=parts.hostname or "",
                    port=parts.port or (443 if parts.scheme == "https" else 80),
                ),
            )

        self._chat = endpoint("/chat/completions", "chat", chat_model, chat_timeout_seconds)
        self._embeddings = endpoint(
            "/embeddings", "embeddings", embedding_model, embedding_timeout_seconds
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def chat(self, messages: list[Message]) -> Completion:
        """Return the model's reply.

        Raises ModelError, or OverloadedError when this process has too many calls under way.
        """
        body = orjson.dumps({"model": self._chat_model, "messages": messages})
        with self._call(self._chat) as span:
            completion = openai_api.completion(await self._post(self._chat, body, span))
            _note_completion(span, completion)
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
        with self._call(self._chat) as span:
            clock = asyncio.get_running_loop().time
            end = clock() + self._chat.seconds
            response = await self._opened(self._chat, body, span)
            try:
                streamed = openai_api.Streamed(_Paced(response.aiter_bytes(), end - clock()))
                yield streamed
            finally:
                await response.aclose()
            _note_completion(span, streamed.completion())

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
        with self._call(self._embeddings) as span:
            content = await self._post(self._embeddings, body, span)
            embedding = openai_api.embedding(content, self._dimensions)
            _note(span, "gen_ai.response.model", embedding.model)
            _note(span, "gen_ai.usage.input_tokens", embedding.input_tokens)
            return FloatArray(embedding.packed)

    @contextmanager
    def _call(self, endpoint: _Endpoint) -> Iterator[Span]:
        """Record a call, span and duration, and bound how many there are."""
        began = perf_counter()
        ended = endpoint.attributes
        self._calls += 1
        try:
            with recorded(
                self._tracer, endpoint.name, SpanKind.CLIENT, endpoint.attributes
            ) as span:
                self._refuse_queues()
                yield span
        except BaseException as error:
            ended = {**ended, names.ERROR_TYPE: type(error).__qualname__}
            raise
        finally:
            self._calls -= 1
            self._duration.record(perf_counter() - began, ended)

    def _refuse_queues(self) -> None:
        if self._calls > self._max_connections:  # it would wait here, and not for the model
            raise OverloadedError("too many calls of the model server are under way")

    async def _post(self, endpoint: _Endpoint, body: bytes, span: Span) -> bytes:
        """Return the whole body of an answer with status 200."""
        try:
            async with asyncio.timeout(endpoint.seconds):
                response = await self._open(endpoint, body, span)
                try:
                    with _transport_errors():
                        return await response.aread()
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
                span.set_attribute(names.RESEND_COUNT, attempt + 1)
                await asyncio.sleep(_BACKOFF_SECONDS * 2**attempt * self._rng.uniform(0.5, 1.5))
        raise AssertionError("the loop above returns or raises")

    async def _open_once(self, endpoint: _Endpoint, body: bytes, span: Span) -> httpx.Response:
        headers: dict[str, str] = {}
        propagate.inject(headers)  # this span, and of the baggage what load_baggage has kept
        request = self._http.build_request(
            "POST",
            endpoint.url,
            content=body,
            headers=headers,
            timeout=httpx.Timeout(
                endpoint.seconds, connect=_CONNECT_TIMEOUT_SECONDS, pool=_CONNECT_TIMEOUT_SECONDS
            ),
        )
        with _transport_errors():
            response = await self._http.send(request, stream=True)
        if response.status_code != httpx.codes.OK:
            await response.aclose()
            raise openai_api.refusal(response.status_code)
        emulated = response.headers.get(_EMULATED_HEADER, "")
        if emulated.isascii() and emulated.isdigit() and len(emulated) < _MAX_DIGITS:
            span.set_attribute(names.EMULATED_NS, int(emulated))
        return response


@contextmanager
def _transport_errors() -> Iterator[None]:
    """Turn the exceptions of httpx and aiohttp into the service's own.

    By httpx-aiohttp a refused connection and one that was hung up are a ConnectTimeout, and an
    answer that is not HTTP stays aiohttp's own exception.
    """
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise ModelUnavailableError(type(error.__cause__ or error).__name__) from error
    except httpx.TimeoutException as error:
        raise ModelTimeoutError(type(error).__name__) from error
    except (httpx.HTTPError, aiohttp.ClientError) as error:
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


def _note_completion(span: Span, completion: Completion) -> None:
    _note(span, "gen_ai.response.model", completion.model)
    _note(span, "gen_ai.usage.input_tokens", completion.input_tokens)
    _note(span, "gen_ai.usage.output_tokens", completion.output_tokens)
    if completion.finish_reason is not None:
        span.set_attribute("gen_ai.response.finish_reasons", [completion.finish_reason])


def _note(span: Span, key: str, value: str | int | None) -> None:
    """Set what the server said, and nothing for what it did not say."""
    if value is not None:
        span.set_attribute(key, value)
