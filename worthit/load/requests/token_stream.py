"""Reads the tokens of a streamed reply as its bytes arrive: when the first and last, how many.

A stream is server-sent events (WHATWG HTML, section 9.2). Pieces with text are those of OpenAI's
chat completions and completions (also of the many that speak as it does), of its responses, of
Anthropic's messages, and of this project's reference service (``event: delta``). How many tokens
they were the ``usage`` says that OpenAI sends last when ``stream_options`` asks for it, or
Anthropic's.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any, Protocol

_MOST_BYTES = 1 << 20
"""An event longer than this is no piece of a reply."""
_EITHER_HEADER = 32 + zlib.MAX_WBITS
"""Has zlib find out by itself whether it is gzip or zlib."""
CONTENT_TYPE = "text/event-stream"


class _Inflating(Protocol):
    def decompress(self, data: bytes, /) -> bytes: ...


class TokenStream:
    """The tokens of one reply."""

    __slots__ = ("_data", "_event", "_inflate", "_rest", "first_ns", "last_ns", "pieces", "tokens")

    def __init__(self, *, content_encoding: str = "") -> None:
        self.first_ns: int | None = None
        """When the first piece with text was there."""
        self.last_ns: int | None = None
        self.pieces = 0
        """Pieces with text so far."""
        self.tokens: int | None = None
        """Output tokens, as the reply says."""
        self._rest = b""
        self._event = ""
        self._data: list[bytes] = []
        compressed = content_encoding in {"gzip", "deflate"}
        self._inflate: _Inflating | None = (
            zlib.decompressobj(_EITHER_HEADER) if compressed else None
        )

    def feed(self, data: bytes, now_ns: int) -> None:
        """Take some bytes of the body that were there at ``now_ns``."""
        if self._inflate is not None:
            data = self._inflate.decompress(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _MOST_BYTES:
            self._rest = b""
        for line in lines:
            self._line(line.rstrip(b"\r"), now_ns)

    def _line(self, line: bytes, now_ns: int) -> None:
        if not line:
            self._end_event(now_ns)
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")

    def _end_event(self, now_ns: int) -> None:
        data, self._data = b"\n".join(self._data), []
        event, self._event = self._event, ""
        if not data.startswith(b"{"):
            return  # a comment, or [DONE]
        try:
            told: dict[str, Any] = json.loads(data)
        except ValueError:
            return
        count = _usage(told)
        if count is not None:
            self.tokens = count
        if any(_texts(event, told)):
            self.pieces += 1
            self.last_ns = now_ns
            if self.first_ns is None:
                self.first_ns = now_ns


def _texts(event: str, told: dict[str, Any]) -> Iterator[object]:
    """Yield what may be text of the reply: of the model's thinking too, as both tools count it."""
    choices = told.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            continue
        yield choice.get("text")
        delta = choice.get("delta")
        if isinstance(delta, dict):
            for name in ("content", "reasoning_content", "reasoning", "tool_calls"):
                yield delta.get(name)
    kind = str(told.get("type") or event)
    if kind == "delta" or kind.endswith(".delta"):
        delta = told.get("delta")
        yield delta if isinstance(delta, str) else told.get("text")
    elif kind == "content_block_delta" and isinstance(told.get("delta"), dict):
        yield from (told["delta"].get(name) for name in ("text", "thinking", "partial_json"))


def _usage(told: dict[str, Any]) -> int | None:
    whole = told.get("response")
    usage = (whole if isinstance(whole, dict) else told).get("usage")
    if not isinstance(usage, dict):
        return None
    count = usage.get("completion_tokens", usage.get("output_tokens"))
    return count if isinstance(count, int) else None
