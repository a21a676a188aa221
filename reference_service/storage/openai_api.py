"""Parses an OpenAI-compatible server's responses: completions, streams, embeddings."""

from __future__ import annotations

import base64
import binascii
import struct
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Self

import orjson

from reference_service.errors import (
    ModelOverloadedError,
    ModelRefusedError,
    ModelTimeoutError,
    ModelUnavailableError,
    ServiceError,
)
from reference_service.models import Completion

_UNREADABLE = (KeyError, IndexError, TypeError, ValueError, AttributeError)
"""What reading a document of another shape raises."""
_OVERLOADED: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_PASSING: Final = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY}
)
"""Refusals of the moment; every other 4xx would come again."""
_REFUSALS: Final = range(400, 500)
_ERRORS: Final = range(400, 600)
_ADVICE: Final[dict[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "; is LLM_API_KEY right?",
    HTTPStatus.FORBIDDEN: "; is LLM_API_KEY right?",
    HTTPStatus.NOT_FOUND: "; are LLM_BASE_URL, LLM_MODEL and EMBEDDING_MODEL right?",
}


@dataclass(frozen=True, slots=True)
class Embedding:
    """An embedding as packed little-endian 32-bit floats."""

    packed: bytes
    model: str | None
    input_tokens: int | None


def refusal(status: int) -> ServiceError:
    """Return the error that a status other than 200 stands for."""
    said = f"the model server answered {status}{_ADVICE.get(status, '')}"
    if status in _OVERLOADED:
        return ModelOverloadedError(said)
    if status == HTTPStatus.GATEWAY_TIMEOUT:
        return ModelTimeoutError(said)
    if status in _REFUSALS and status not in _PASSING:
        return ModelRefusedError(said)
    return ModelUnavailableError(said)


def completion(content: bytes) -> Completion:
    """Return what a chat completion says; raises ModelError when it says nothing."""
    try:
        answer = _document(content)
        choice = answer["choices"][0]
        input_tokens, output_tokens = _usage(answer)
        return Completion(
            text=_text(choice["message"]["content"]),
            model=_word(answer.get("model")),
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            finish_reason=_word(choice.get("finish_reason")),
        )
    except _UNREADABLE as error:
        raise ModelUnavailableError("the answer holds no reply") from error


def embedding(content: bytes, dimensions: int) -> Embedding:
    """Return the first embedding of an answer, base64 or numbers.

    Raises ModelError when there is none or when it has other dimensions than expected.
    """
    try:
        answer = _document(content)
        found = answer["data"][0]["embedding"]
        packed = (
            base64.b64decode(found, validate=True)
            if isinstance(found, str)
            else struct.pack(f"<{len(found)}f", *found)
        )
        made = Embedding(packed, _word(answer.get("model")), _usage(answer)[0])
    except (*_UNREADABLE, binascii.Error, struct.error) as error:
        raise ModelUnavailableError("the answer holds no embedding") from error
    if len(packed) != 4 * dimensions:
        raise ModelUnavailableError(
            f"the embedding has {len(packed) // 4} dimensions, expected {dimensions}"
        )
    return made


class Streamed:
    """A streamed completion: an iterator over pieces of text that remembers the whole.

    It is whole when a choice has said why it finished and the stream has said that it is done.
    OpenAI and those who speak as it does send both; a stream that only ends, or says `[DONE]`
    after an error, was cut off, and half a reply must not be stored as one.
    """

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""
        self._ready: deque[str] = deque()
        self._text: list[str] = []
        self._model: str | None = None
        self._finish_reason: str | None = None
        self._tokens: tuple[int | None, int | None] = (None, None)
        self._done = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        """Return the next piece; raises ModelError when the server fails or stops half-way."""
        while not self._ready:
            try:
                chunk = await anext(self._chunks)
            except StopAsyncIteration:
                if not self._done or self._finish_reason is None:
                    raise ModelUnavailableError("the stream ended before its end") from None
                raise
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                self._read(line.strip())
        piece = self._ready.popleft()
        self._text.append(piece)
        return piece

    def completion(self) -> Completion:
        """Return the whole reply; only after the iteration."""
        return Completion(
            text="".join(self._text),
            model=self._model,
            input_tokens=self._tokens[0],
            output_tokens=self._tokens[1],
            finish_reason=self._finish_reason,
        )

    def _read(self, line: bytes) -> None:
        """Take one line of the stream in."""
        if not line.startswith(b"data:") or self._done:
            return
        data = line[5:].strip()
        if data == b"[DONE]":
            self._done = True
            return
        try:
            self._take(_document(data))
        except _UNREADABLE as error:
            raise ModelUnavailableError("a piece of the stream is not one") from error

    def _take(self, piece: dict[str, Any]) -> None:
        self._model = _word(piece.get("model")) or self._model
        if piece.get("usage"):
            self._tokens = _usage(piece)
        choices = piece.get("choices")
        if not isinstance(choices, list) or not choices:
            return
        self._finish_reason = _word(choices[0].get("finish_reason")) or self._finish_reason
        text = _text((choices[0].get("delta") or {}).get("content") or "")
        if text:
            self._ready.append(text)


def _document(content: bytes) -> dict[str, Any]:
    """Return the object in an answer; raises the error that the answer itself reports.

    Servers that have begun an answer, and proxies before them, report an error with status 200.
    """
    found: dict[str, Any] = orjson.loads(content)
    error = found.get("error")
    if error:
        code = error.get("code") if isinstance(error, dict) else None
        if isinstance(code, int) and code in _ERRORS:
            raise refusal(code)
        raise ModelUnavailableError("the model server reported an error in its answer")
    return found


def _usage(answer: dict[str, Any]) -> tuple[int | None, int | None]:
    """Return the tokens that went in and came out, as far as the server counted them."""
    usage = answer.get("usage")
    if not isinstance(usage, dict):
        return None, None
    return _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))


def _count(found: object) -> int | None:
    return found if type(found) is int and found >= 0 else None


def _word(found: object) -> str | None:
    return found if isinstance(found, str) and found else None


def _text(found: object) -> str:
    if not isinstance(found, str):
        raise TypeError(f"found {type(found).__name__}, expected text")
    return found.replace("\x00", "")  # PostgreSQL stores no NUL in text
