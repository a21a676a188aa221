"""Chat completions and embeddings of any OpenAI-compatible server, over httpx.

httpx's own connection pool looks at every connection for every request; with 500 in flight that
alone costs more than the rest of the request. So the transport is another (`model_transport.py`),
and it is called directly: httpx's client around it (cookies, redirects, authentication) costs
0.1 ms a call and does nothing here. See docs/decisions/0023-model-transport.md.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import httpx
import orjson

from reference_service.errors import (
    ModelOverloadedError,
    ModelTimeoutError,
    ModelUnavailableError,
    ServiceError,
)
from reference_service.models import Completion
from reference_service.resilience.retry_budget import RetryBudget
from reference_service.storage import openai_api
from reference_service.storage.model_transport import ModelTransport
from reference_service.storage.vectors import FloatArray
from reference_service.telemetry import names
from reference_service.telemetry.model_metrics import ModelMetrics
from reference_service.telemetry.request_context import REQUEST
from reference_service.telemetry.spans import Span, Tracer

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
        self._chat_url = httpx.URL(base_url.rstrip("/") + "/chat/completions")
        self._embeddings_url = httpx.URL(base_url.rstrip("/") + "/embeddings")
        self._chat_timeouts = _timeouts(chat_timeout_seconds)
        self._embedding_timeouts = _timeouts(embedding_timeout_seconds)
        self._chat_deadline_seconds = chat_timeout_seconds
        self._headers = _headers(self._chat_url, api_key)
        self._transport = ModelTransport(base_url, max_connections=max_connections)
        parts = urlsplit(base_url)
        address, port = (
            parts.hostname or "",
            parts.port or (443 if parts.scheme == "https" else 80),
        )
        self._chat_shape = names.model_shape(
            operation="chat", model=chat_model, provider=provider, address=address, port=port
        )
        self._embeddings_shape = names.model_shape(
            operation="embeddings",
            model=embedding_model,
            provider=provider,
            address=address,
            port=port,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def chat(self, messages: list[Message]) -> Completion:
        """Return the model's reply.

        Raises ModelUnavailableError, ModelOverloadedError or ModelTimeoutError.
        """
        body = orjson.dumps({"model": self._chat_model, "messages": messages})
        with self._tracer.span(self._chat_shape) as span, self._metrics.chat() as measured:
            content = await self._post(self._chat_url, body, self._chat_timeouts, span)
            completion = openai_api.completion(content)
            _note_completion(span, completion)
            measured.tokens(completion.input_tokens, completion.output_tokens)
            return completion

    @asynccontextmanager
    async def stream(self, messages: list[Message]) -> AsyncIterator[openai_api.Streamed]:
        """Open a streamed reply: iterate over its pieces, then ask it for the whole.

        Raises as `chat`, also while it is iterated over. A broken stream is not retried: the user
        has read a part of it.
        """
        body = orjson.dumps(
            {
                "model": self._chat_model,
                "messages": messages,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        )
        with self._tracer.span(self._chat_shape) as span, self._metrics.chat() as measured:
            response = await self._open(self._chat_url, body, self._chat_timeouts, span)
            try:
                async with asyncio.timeout(self._chat_deadline_seconds):
                    with _transport_errors():
                        streamed = openai_api.Streamed(response.aiter_bytes())
                        yield streamed
            except TimeoutError as error:
                raise ModelTimeoutError("the stream did not end in time") from error
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
        with self._tracer.span(self._embeddings_shape) as span, self._metrics.embeddings() as one:
            content = await self._post(self._embeddings_url, body, self._embedding_timeouts, span)
            embedding = openai_api.embedding(content, self._dimensions)
            span.set("gen_ai.response.model", embedding.model)
            span.set("gen_ai.usage.input_tokens", embedding.input_tokens)
            one.tokens(embedding.input_tokens)
            return FloatArray(embedding.packed)

    async def _post(
        self, url: httpx.URL, body: bytes, timeouts: Mapping[str, float], span: Span
    ) -> bytes:
        response = await self._open(url, body, timeouts, span)
        try:
            with _transport_errors():
                return await _content(response)
        finally:
            await response.aclose()

    async def _open(
        self, url: httpx.URL, body: bytes, timeouts: Mapping[str, float], span: Span
    ) -> httpx.Response:
        """Return a response with status 200, its body unread, after some attempts."""
        self._budget.request()
        for attempt in range(self._retries + 1):
            try:
                return await self._open_once(url, body, timeouts, span)
            except (ModelUnavailableError, ModelOverloadedError):
                if attempt == self._retries or not self._budget.may_retry():
                    raise
                span.set("http.request.resend_count", attempt + 1)
                await asyncio.sleep(_BACKOFF_SECONDS * 2**attempt * self._rng.uniform(0.5, 1.5))
        raise AssertionError("the loop above returns or raises")

    async def _open_once(
        self, url: httpx.URL, body: bytes, timeouts: Mapping[str, float], span: Span
    ) -> httpx.Response:
        request = httpx.Request(
            "POST",
            url,
            headers=self._headers_of(span, body),
            stream=httpx.ByteStream(body),
            extensions={"timeout": timeouts},
        )
        with _transport_errors():
            response = await self._transport.handle_async_request(request)
        if response.status_code != httpx.codes.OK:
            await response.aclose()
            raise _refusal(response.status_code)
        for name, value in response.headers.raw:
            if name.lower() == _EMULATED_HEADER and value.isdigit() and len(value) < _MAX_DIGITS:
                span.add_emulated(int(value))
        return response

    def _headers_of(self, span: Span, body: bytes) -> list[tuple[bytes, bytes]]:
        """Return the headers of a call: this span's context, or else the caller's as it came."""
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
        if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
            raise ModelUnavailableError(type(error).__name__) from error
        if isinstance(error, httpx.TimeoutException):
            raise ModelTimeoutError(type(error).__name__) from error
        if isinstance(error, httpx.HTTPError):
            raise ModelUnavailableError(type(error).__name__) from error


async def _content(response: httpx.Response) -> bytes:
    """Return the body; httpx's own reading costs 40 us more, to decode what nobody encoded."""
    if "content-encoding" in response.headers:
        return await response.aread()
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - the transport's
    return b"".join([piece async for piece in stream])


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


def _refusal(status: int) -> ServiceError:
    if status in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE):
        return ModelOverloadedError(f"the model server answered {status}")
    if status == httpx.codes.GATEWAY_TIMEOUT:
        return ModelTimeoutError(f"the model server answered {status}")
    return ModelUnavailableError(f"the model server answered {status}")


def _note_completion(span: Span, completion: Completion) -> None:
    span.set("gen_ai.response.model", completion.model)
    span.set("gen_ai.usage.input_tokens", completion.input_tokens)
    span.set("gen_ai.usage.output_tokens", completion.output_tokens)
    span.set("gen_ai.response.finish_reasons", (completion.finish_reason,))
