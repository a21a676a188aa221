"""What does an OpenAI-compatible server understand and answer? No clock and no socket in here.

Tokens are counted as one for every four bytes of UTF-8, rounded up: the usual rule of thumb, and
stated as such. A vector is a signed bag of words, so texts that share words lie near each other.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

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
    """The client's mistake, with the HTTP status and the parameter it concerns."""

    def __init__(self, message: str, *, param: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.param = param
        self.status = status

    def body(self) -> bytes:
        """The error as OpenAI shapes it."""
        return error_body(str(self), "invalid_request_error", self.param)


@dataclass(frozen=True, slots=True)
class ChatCall:
    """A chat completion asked for."""

    model: str
    input_tokens: int
    max_tokens: int
    stream: bool
    include_usage: bool


@dataclass(frozen=True, slots=True)
class EmbeddingsCall:
    """Vectors asked for."""

    model: str
    inputs: tuple[str, ...]
    input_tokens: int
    dimensions: int
    base64: bool


def error_body(message: str, kind: str, param: str | None = None) -> bytes:
    """An error as OpenAI shapes it."""
    return orjson.dumps(
        {"error": {"message": message, "type": kind, "param": param, "code": None}}
    )


def tokens(text: str) -> int:
    """About how many tokens `text` has."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_A_TOKEN)


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"The body is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise BadRequestError("The body must be a JSON object.")
    return value


def _model(value: dict[str, Any]) -> str:
    model = value.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequestError("You must provide a model: a non-empty string.", param="model")
    return model


def _message_text(message: object, index: int) -> str:
    """A message's text; content may be a string, null (a tool call) or a list of parts."""
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise BadRequestError(
            f"messages[{index}] must be an object with a role.", param=f"messages[{index}]"
        )
    content = message.get("content")
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return " ".join(str(part.get("text", "")) for part in content)
    raise BadRequestError(
        f"messages[{index}].content must be a string or a list of parts.",
        param=f"messages[{index}].content",
    )


def _positive(value: dict[str, Any], name: str, default: int) -> int:
    number = value.get(name)
    if number is None:
        return default
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise BadRequestError(f"{name} must be an integer of at least 1.", param=name)
    return number


def parse_chat(body: bytes) -> ChatCall:
    """Read the body of POST /v1/chat/completions; raises BadRequestError."""
    value = _object(body)
    model = _model(value)
    messages = value.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequestError("messages must be a non-empty list.", param="messages")
    stream = value.get("stream") or False
    if not isinstance(stream, bool):
        raise BadRequestError("stream must be true or false.", param="stream")
    options = value.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise BadRequestError("stream_options must be an object.", param="stream_options")
    text = "\n".join(_message_text(message, i) for i, message in enumerate(messages))
    limit = _positive(value, "max_tokens", 1 << 30)
    return ChatCall(
        model=model,
        input_tokens=max(1, tokens(text)),
        max_tokens=min(limit, _positive(value, "max_completion_tokens", 1 << 30)),
        stream=stream,
        include_usage=bool((options or {}).get("include_usage")),
    )


def _is_tokens(given: object) -> bool:
    """Whether this is a text as token numbers."""
    return isinstance(given, list) and bool(given) and all(type(item) is int for item in given)


def _texts(given: object) -> tuple[str, ...]:
    """The inputs as texts; token numbers, which OpenAI takes too, become words."""
    if isinstance(given, str) or (
        isinstance(given, list) and given and all(type(item) is int for item in given)
    ):
        given = [given]
    if not isinstance(given, list) or not given:
        raise BadRequestError("input must be a string or a non-empty list.", param="input")
    if len(given) > MAX_INPUTS:
        raise BadRequestError(
            f"input holds {len(given)} texts; at most {MAX_INPUTS} are taken.", param="input"
        )
    texts = []
    for item in given:
        if isinstance(item, list) and _is_tokens(item):
            texts.append(" ".join(map(str, item)))
        elif isinstance(item, str) and item:
            texts.append(item)
        else:
            raise BadRequestError("input must hold non-empty strings.", param="input")
    return tuple(texts)


def parse_embeddings(body: bytes) -> EmbeddingsCall:
    """Read the body of POST /v1/embeddings; raises BadRequestError."""
    value = _object(body)
    model = _model(value)
    texts = _texts(value.get("input"))
    encoding = value.get("encoding_format") or "float"
    if encoding not in {"float", "base64"}:
        raise BadRequestError("encoding_format must be float or base64.", param="encoding_format")
    dimensions = _positive(value, "dimensions", DIMENSIONS)
    if dimensions > DIMENSIONS:
        raise BadRequestError(
            f"dimensions is {dimensions}; this model has {DIMENSIONS}.", param="dimensions"
        )
    return EmbeddingsCall(
        model=model,
        inputs=texts,
        input_tokens=sum(map(tokens, texts)),
        dimensions=dimensions,
        base64=encoding == "base64",
    )


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
    for index, text in enumerate(call.inputs):
        found = vector(text, call.dimensions)
        shown = base64.b64encode(found.tobytes()).decode("ascii") if call.base64 else found
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
