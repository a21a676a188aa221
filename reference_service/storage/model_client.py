"""Chat completions and embeddings of any OpenAI-compatible server, over httpx."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import orjson
from httpx_aiohttp import AiohttpTransport

from reference_service.errors import (
    ModelOverloadedError,
    ModelTimeoutError,
    ModelUnavailableError,
    ServiceError,
)
from reference_service.models import Completion
from reference_service.services.retry_budget import RetryBudget
from reference_service.storage.vectors import FloatArray
from reference_service.telemetry import names
from reference_service.telemetry.request_context import REQUEST
from reference_service.telemetry.spans import Span, Tracer

_CONNECT_TIMEOUT_SECONDS: Final = 2.0
_BACKOFF_SECONDS: Final = 0.05
_RETRYABLE: Final = frozenset({429, 500, 502, 503, 504})
Message = dict[str, str]


class ModelClient:
    """One model server: bounded connections, timeouts, and retries that a budget limits."""

    def __init__(
        self,
        base_url: str,
        *,
        tracer: Tracer,
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
        self._budget = budget
        self._rng = rng
        self._chat_model = chat_model
        self._embedding_model = embedding_model
        self._dimensions = dimensions
        self._retries = retries
        self._chat_url = httpx.URL(base_url.rstrip("/") + "/chat/completions")
        self._embeddings_url = httpx.URL(base_url.rstrip("/") + "/embeddings")
        self._chat_timeout = httpx.Timeout(chat_timeout_seconds, connect=_CONNECT_TIMEOUT_SECONDS)
        self._embedding_timeout = httpx.Timeout(
            embedding_timeout_seconds, connect=_CONNECT_TIMEOUT_SECONDS
        )
        self._headers = {"content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        limits = httpx.Limits(max_connections=max_connections, keepalive_expiry=60)
        self._client = httpx.AsyncClient(transport=AiohttpTransport(limits=limits))
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
        await self._client.aclose()

    async def chat(self, messages: list[Message]) -> Completion:
        """Return the model's reply. Raises ModelUnavailableError, ModelOverloadedError, ModelTimeoutError."""
        body = orjson.dumps({"model": self._chat_model, "messages": messages})
        with self._tracer.span(self._chat_shape) as span:
            answer = await self._post(self._chat_url, body, self._chat_timeout, span)
            completion = _completion(answer)
            _note_completion(span, completion)
            return completion

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
        with self._tracer.span(self._embeddings_shape) as span:
            answer = await self._post(self._embeddings_url, body, self._embedding_timeout, span)
            return self._embedding(answer, span)

    async def _post(self, url: httpx.URL, body: bytes, timeout: httpx.Timeout, span: Span) -> Any:
        self._budget.request()
        for attempt in range(self._retries + 1):
            try:
                return await self._post_once(url, body, timeout, span)
            except (ModelUnavailableError, ModelOverloadedError):
                if attempt == self._retries or not self._budget.may_retry():
                    raise
                await asyncio.sleep(_BACKOFF_SECONDS * 2**attempt * self._rng.uniform(0.5, 1.5))
        raise AssertionError("the loop above returns or raises")

    async def _post_once(
        self, url: httpx.URL, body: bytes, timeout: httpx.Timeout, span: Span
    ) -> Any:
        try:
            response = await self._client.post(
                url, content=body, headers=self._headers_of(span), timeout=timeout
            )
        except httpx.TimeoutException as error:
            raise _timeout(error) from error
        except httpx.HTTPError as error:
            raise ModelUnavailableError(type(error).__name__) from error
        if response.status_code != httpx.codes.OK:
            raise _refusal(response)
        try:
            return orjson.loads(response.content)
        except ValueError as error:
            raise ModelUnavailableError("the answer is not JSON") from error

    def _headers_of(self, span: Span) -> dict[str, str]:
        headers = dict(self._headers)
        if span.is_recording():
            headers["traceparent"] = span.traceparent()
        request = REQUEST.get()
        if request is not None and request.baggage:
            headers["baggage"] = request.baggage
        return headers

    def _embedding(self, answer: Any, span: Span) -> FloatArray:
        try:
            found = answer["data"][0]["embedding"]
            packed = (
                base64.b64decode(found, validate=True)
                if isinstance(found, str)
                else _packed(found)
            )
            span.set("gen_ai.response.model", str(answer["model"]))
            span.set("gen_ai.usage.input_tokens", int(answer["usage"]["prompt_tokens"]))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ModelUnavailableError("the answer holds no embedding") from error
        if len(packed) != 4 * self._dimensions:
            raise ModelUnavailableError(
                f"the embedding has {len(packed) // 4} dimensions, expected {self._dimensions}"
            )
        return FloatArray(packed)


def _packed(floats: list[float]) -> bytes:
    import struct  # noqa: PLC0415 - placeholder

    return struct.pack(f"<{len(floats)}f", *floats)


def _timeout(error: httpx.TimeoutException) -> ServiceError:
    """A connection that could not be made is a missing server; a reply that did not come is a slow one."""
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return ModelUnavailableError(type(error).__name__)
    return ModelTimeoutError(type(error).__name__)


def _refusal(response: httpx.Response) -> ServiceError:
    status = response.status_code
    if status in (429, 503):
        return ModelOverloadedError(f"the model server answered {status}")
    if status == httpx.codes.GATEWAY_TIMEOUT:
        return ModelTimeoutError(f"the model server answered {status}")
    return ModelUnavailableError(f"the model server answered {status}")


def _completion(answer: Any) -> Completion:
    try:
        choice = answer["choices"][0]
        usage = answer.get("usage") or {}
        return Completion(
            text=str(choice["message"]["content"]),
            model=str(answer.get("model", "")),
            input_tokens=int(usage.get("prompt_tokens", 0)),
            output_tokens=int(usage.get("completion_tokens", 0)),
            finish_reason=str(choice.get("finish_reason") or ""),
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ModelUnavailableError("the answer holds no reply") from error


def _note_completion(span: Span, completion: Completion) -> None:
    span.set("gen_ai.response.model", completion.model)
    span.set("gen_ai.usage.input_tokens", completion.input_tokens)
    span.set("gen_ai.usage.output_tokens", completion.output_tokens)
    span.set("gen_ai.response.finish_reasons", (completion.finish_reason,))


__all__ = ["AsyncIterator", "ModelClient"]
