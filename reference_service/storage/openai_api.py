"""What an OpenAI-compatible server's answers mean: completions, streams of them, embeddings."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson

from reference_service.errors import ModelUnavailableError
from reference_service.models import Completion

_UNREADABLE = (KeyError, IndexError, TypeError, ValueError, AttributeError)
"""What reading a document of another shape raises."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """An embedding as packed little-endian 32-bit floats."""

    packed: bytes
    model: str
    input_tokens: int


def completion(content: bytes) -> Completion:
    """Return what a chat completion says; raises ModelUnavailableError when it says nothing."""
    try:
        answer = orjson.loads(content)
        choice = answer["choices"][0]
        usage = answer.get("usage") or {}
        return Completion(
            text=_text(choice["message"]["content"]),
            model=str(answer.get("model") or ""),
            input_tokens=int(usage.get("prompt_tokens") or 0),
            output_tokens=int(usage.get("completion_tokens") or 0),
            finish_reason=str(choice.get("finish_reason") or ""),
        )
    except _UNREADABLE as error:
        raise ModelUnavailableError("the answer holds no reply") from error


def embedding(content: bytes, dimensions: int) -> Embedding:
    """Return the first embedding of an answer, base64 or numbers.

    Raises ModelUnavailableError when there is none or when it has other dimensions than expected.
    """
    try:
        answer = orjson.loads(content)
        found = answer["data"][0]["embedding"]
        packed = (
            base64.b64decode(found, validate=True)
            if isinstance(found, str)
            else struct.pack(f"<{len(found)}f", *found)
        )
        usage = answer.get("usage") or {}
        made = Embedding(
            packed, str(answer.get("model") or ""), int(usage.get("prompt_tokens") or 0)
        )
    except (*_UNREADABLE, binascii.Error, struct.error) as error:
        raise ModelUnavailableError("the answer holds no embedding") from error
    if len(packed) != 4 * dimensions:
        raise ModelUnavailableError(
            f"the embedding has {len(packed) // 4} dimensions, expected {dimensions}"
        )
    return made


class Streamed:
    """A streamed completion: an iterator over pieces of text that remembers the whole."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._text: list[str] = []
        self._model = ""
        self._finish_reason = ""
        self._tokens = (0, 0)
        self._done = False

    async def __aiter__(self) -> AsyncIterator[str]:
        rest = b""
        async for chunk in self._chunks:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                piece = self._read(line.strip())
                if piece:
                    self._text.append(piece)
                    yield piece
        if not self._done:
            raise ModelUnavailableError("the stream ended before its end")

    def completion(self) -> Completion:
        """Return the whole reply; only after the iteration."""
        return Completion(
            text="".join(self._text),
            model=self._model,
            input_tokens=self._tokens[0],
            output_tokens=self._tokens[1],
            finish_reason=self._finish_reason,
        )

    def _read(self, line: bytes) -> str:
        """Take one line of the stream in and return the text it brings."""
        if not line.startswith(b"data:"):
            return ""
        data = line[5:].strip()
        if data == b"[DONE]":
            self._done = True
            return ""
        try:
            return self._take(orjson.loads(data))
        except _UNREADABLE as error:
            raise ModelUnavailableError("a piece of the stream is not one") from error

    def _take(self, piece: dict[str, object]) -> str:
        self._model = str(piece.get("model") or self._model)
        usage = piece.get("usage")
        if isinstance(usage, dict):
            self._tokens = (int(usage["prompt_tokens"]), int(usage["completion_tokens"]))
        choices = piece.get("choices")
        if not isinstance(choices, list) or not choices:
            return ""
        self._finish_reason = str(choices[0].get("finish_reason") or self._finish_reason)
        return _text(choices[0]["delta"].get("content") or "")


def _text(found: object) -> str:
    if not isinstance(found, str):
        raise TypeError(f"found {type(found).__name__}, expected text")
    return found.replace("\x00", "")  # PostgreSQL stores no NUL in text
