"""What does an OpenAI-compatible server understand and answer? No clock and no socket in here.

Tokens are counted as one for every four bytes of UTF-8, rounded up: the usual rule of thumb, and
stated as such. A vector is a signed bag of words, so texts that share words lie near each other.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

DIMENSIONS = 384
"""Of every vector, as small sentence encoders have."""

BYTES_A_TOKEN = 4
"""Rule of thumb for English text in UTF-8."""

MAX_INPUTS = 2048
"""As many texts as OpenAI's own embeddings endpoint takes in one call."""

SENTENCE = (
    "I hear you and that sounds like a lot to carry at once let us look at it together one "
    "small step at a time what would make today a little lighter for you tell me more about "
    "how it felt when it began and what you wish had gone another way I am here and there is "
    "no hurry at all"
)
"""Replies go round and round in it."""

WORDS = SENTENCE.split()
"""What replies are made of."""


class BadRequestError(Exception):
    """The client's mistake, with the parameter it concerns; answered with status 400."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param

    def body(self) -> bytes:
        """The error as OpenAI shapes it."""
        return error_body(str(self), "invalid_request_error", self.param)


def error_body(message: str, kind: str, param: str | None = None) -> bytes:
    """An error as OpenAI shapes it."""
    return orjson.dumps(
        {"error": {"message": message, "type": kind, "param": param, "code": None}}
    )


def tokens(text: str) -> int:
    """About how many tokens `text` has."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_A_TOKEN)


def _as_text(content: object) -> object:
    """A message's content as one text: parts are joined, null (a tool call) is none."""
    if content is None:
        return ""
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return " ".join(str(part.get("text", "")) for part in content)
    return content


def _is_tokens(given: object) -> bool:
    """Whether this is a text as token numbers."""
    return isinstance(given, list) and bool(given) and all(type(item) is int for item in given)


def _as_texts(given: object) -> object:
    """The inputs as a list of texts; token numbers, which OpenAI takes too, become words."""
    if isinstance(given, str) or _is_tokens(given):
        given = [given]
    if not isinstance(given, list):
        return given
    return [" ".join(map(str, item)) if _is_tokens(item) else item for item in given]


class _Call(BaseModel):
    """What every call says; members that are not known are ignored."""

    model_config = ConfigDict(strict=True, frozen=True)

    model: Annotated[str, Field(min_length=1)]


class _Message(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    role: str
    content: Annotated[str, BeforeValidator(_as_text)] = ""


class _StreamOptions(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    include_usage: bool | None = None


Model = TypeVar("Model", bound=BaseModel)

Limit = Annotated[int, Field(ge=1)] | None
"""A number of tokens, if there is a limit."""


class ChatCall(_Call):
    """A chat completion asked for."""

    messages: Annotated[list[_Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Limit = None
    max_completion_tokens: Limit = None

    @property
    def input_tokens(self) -> int:
        """Of all messages, a line break between two."""
        return max(1, tokens("\n".join(message.content for message in self.messages)))

    @property
    def most_tokens(self) -> int:
        """The reply's limit."""
        return min(self.max_tokens or sys.maxsize, self.max_completion_tokens or sys.maxsize)

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with its usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


class EmbeddingsCall(_Call):
    """Vectors asked for."""

    input: Annotated[
        list[Annotated[str, Field(min_length=1)]],
        Field(min_length=1, max_length=MAX_INPUTS),
        BeforeValidator(_as_texts),
    ]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1, le=DIMENSIONS)] | None = None

    @property
    def input_tokens(self) -> int:
        """Of all texts."""
        return sum(map(tokens, self.input))


def read(kind: type[Model], body: bytes) -> Model:
    """Read a body; raises BadRequestError that names the parameter."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "".join(
            f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"]
        ).lstrip(".")
        message = f"{where or 'The body'}: {first['msg']}."
        raise BadRequestError(message, param=where or None) from None


@lru_cache(maxsize=20_000)
def _word_vector(word: str) -> NDArray[np.float32]:
    """A word's direction: 384 signs out of SHAKE-128, the same everywhere and for ever."""
    digest = hashlib.shake_128(word.encode("utf-8", "surrogatepass")).digest(DIMENSIONS // 8)
    bits = np.unpackbits(np.frombuffer(digest, dtype=np.uint8))
    return bits.astype(np.float32) * 2 - 1


def vector(text: str, dimensions: int = DIMENSIONS) -> NDArray[np.float32]:
    """The unit vector of a text, shape (dimensions,): its words' directions added up."""
    words = text.lower().split() or [text]
    total = np.add.reduce([_word_vector(word) for word in words])[:dimensions]
    length = float(np.sqrt(np.dot(total, total)))
    if length == 0.0:  # words that cancel each other out
        total = _word_vector(text)[:dimensions]
        length = float(np.sqrt(np.dot(total, total)))
    return np.asarray(total / length, dtype=np.float32)


def embeddings_body(call: EmbeddingsCall) -> bytes:
    """The answer to POST /v1/embeddings."""
    data = []
    packed = call.encoding_format == "base64"
    for index, text in enumerate(call.input):
        found = vector(text, call.dimensions or DIMENSIONS)
        shown = base64.b64encode(found.tobytes()).decode("ascii") if packed else found
        data.append({"object": "embedding", "index": index, "embedding": shown})
    usage = {"prompt_tokens": call.input_tokens, "total_tokens": call.input_tokens}
    answer = {"object": "list", "data": data, "model": call.model, "usage": usage}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def reply(draw: int, wanted: int, max_tokens: int) -> tuple[str, int, str]:
    """A reply of `wanted` tokens at most: its text, tokens, and why it ended (stop, length)."""
    count = min(wanted, max_tokens)
    start = draw % len(WORDS)
    text = " ".join(WORDS[(start + i) % len(WORDS)] for i in range(count))
    return text, count, "length" if wanted > max_tokens else "stop"


def _usage(call: ChatCall, output_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": call.input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": call.input_tokens + output_tokens,
    }


def chat_body(call: ChatCall, ident: str, created: int, said: tuple[str, int, str]) -> bytes:
    """The answer to POST /v1/chat/completions, whole."""
    text, count, reason = said
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "logprobs": None,
        "finish_reason": reason,
    }
    return orjson.dumps(
        {
            "id": ident,
            "object": "chat.completion",
            "created": created,
            "model": call.model,
            "choices": [choice],
            "usage": _usage(call, count),
        }
    )


def chat_chunks(
    call: ChatCall, ident: str, created: int, said: tuple[str, int, str], pieces: int
) -> list[bytes]:
    """The same answer as server-sent events; the last holds the end, the usage and [DONE]."""
    text, count, reason = said
    words = text.split(" ")
    size = max(1, -(-len(words) // pieces))
    cut = [" ".join(words[i : i + size]) for i in range(0, len(words), size)]
    texts = [piece if i == 0 else " " + piece for i, piece in enumerate(cut)]

    def event(choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
        value: dict[str, Any] = {
            "id": ident,
            "object": "chat.completion.chunk",
            "created": created,
            "model": call.model,
            "choices": choices,
        }
        if call.include_usage:
            value["usage"] = usage
        return b"data: " + orjson.dumps(value) + b"\n\n"

    def choice(delta: dict[str, str], finish: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]

    events = [
        event(choice({"role": "assistant", "content": part} if i == 0 else {"content": part}))
        for i, part in enumerate(texts)
    ]
    end = event(choice({}, reason))
    if call.include_usage:
        end += event([], _usage(call, count))
    return [*events, end + b"data: [DONE]\n\n"]
