"""What the simulator understands and answers, without a server."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import orjson
import pytest

from worthit.simulator import openai_api
from worthit.simulator.openai_api import BadRequestError, ChatCall, EmbeddingsCall, read, vector

HELLO = [{"role": "user", "content": "Hello there"}]


def chat(**changes: object) -> bytes:
    """A chat request's body."""
    return orjson.dumps({"model": "m", "messages": HELLO, **changes})


def embeddings(**changes: object) -> bytes:
    """An embeddings request's body."""
    return orjson.dumps({"model": "m", "input": "Hello there", **changes})


def test_a_chat_is_read() -> None:
    """Model, tokens (a quarter of the bytes, rounded up), limits and streaming are taken over."""
    body = chat(stream=True, stream_options={"include_usage": True}, max_tokens=9)
    call = read(ChatCall, body)

    assert (call.model, call.stream, call.include_usage) == ("m", True, True)
    assert (call.input_tokens, call.most_tokens) == (3, 9)


def test_content_may_come_in_parts_or_be_missing() -> None:
    """A message of text parts counts as its text; one of null as nothing."""
    parts = [{"type": "text", "text": "12345678"}]
    call = read(
        ChatCall,
        chat(messages=[{"role": "user", "content": parts}, {"role": "tool", "content": None}]),
    )

    assert call.input_tokens == 3  # 8 bytes and the line break between two messages


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        (b"", None, "Invalid JSON"),
        (b"{", None, "Invalid JSON"),
        (b"[]", None, "valid dictionary|object"),
        (b"null", None, "valid dictionary|object"),
        (chat(model=None), "model", "model: .* string"),
        (chat(model=7), "model", "model: .* string"),
        (chat(messages=[]), "messages", "messages: .* (list|array|item)"),
        (chat(messages="hi"), "messages", "messages: .* (list|array|item)"),
        (chat(messages=[7]), "messages[0]", "messages.0.: .* (object|dictionary)"),
        (
            chat(messages=[*HELLO, {"role": "user", "content": 7}]),
            "messages[1].content",
            "content: .* string",
        ),
        (chat(stream="yes"), "stream", "stream: .* boolean"),
        (chat(stream_options=7), "stream_options", "stream_options: .* (object|dictionary)"),
        (chat(max_tokens=0), "max_tokens", "max_tokens: .*(integer|greater)"),
        (chat(max_tokens=True), "max_tokens", "max_tokens: .*(integer|greater)"),
        (b"[" * 100_000, None, "Invalid JSON"),
        (b'{"model": "\xff"}', None, "Invalid JSON"),
    ],
)
def test_a_bad_chat_is_refused_as_openai_does(
    body: bytes, param: str | None, message: str
) -> None:
    """The parameter and the reason are in the answer."""
    with pytest.raises(BadRequestError, match=message) as raised:
        read(ChatCall, body)

    shown = orjson.loads(raised.value.body())["error"]
    assert (shown["type"], shown["param"]) == ("invalid_request_error", param)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"input": ""}, "input[0]"),
        ({"input": []}, "input"),
        ({"input": [""]}, "input[0]"),
        ({"input": ["a", 7]}, "input[1]"),
        ({"input": {"a": 1}}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 385}, "dimensions"),
        ({"dimensions": 0}, "dimensions"),
        ({"model": ""}, "model"),
    ],
)
def test_bad_embeddings_are_refused(changes: dict[str, Any], param: str) -> None:
    """Each mistake names its parameter."""
    with pytest.raises(BadRequestError) as raised:
        read(EmbeddingsCall, embeddings(**changes))

    assert raised.value.param == param


def test_vectors_are_unit_long_and_follow_from_the_text() -> None:
    """384 numbers of length 1, the same for the same text, case and spaces apart."""
    found = vector("I had a long day")

    assert found.shape == (384,)
    assert found.dtype == np.float32
    assert float(np.linalg.norm(found)) == pytest.approx(1.0, abs=1e-6)
    assert np.array_equal(found, vector("i HAD  a long day"))


def test_texts_that_share_words_are_nearer() -> None:
    """A search by cosine finds the related text first; unrelated texts are nearly orthogonal."""
    asked = vector("how was my holiday by the sea")
    near = vector("we spent the holiday by the sea")
    far = vector("quarterly tax returns due soon")

    assert float(asked @ near) > 0.5
    assert abs(float(asked @ far)) < 0.25


def test_words_that_cancel_still_have_a_direction() -> None:
    """No text gives a vector of length 0 or NaN, however odd."""
    for text in ("", " ", "\u0000", "a" * 100_000, "\ud83d\ude00"):
        assert float(np.linalg.norm(vector(text))) == pytest.approx(1.0, abs=1e-6)


def test_floats_and_base64_say_the_same() -> None:
    """Both encodings of one text decode to one vector, in order of the inputs."""
    texts = ["one", "two"]
    plain = orjson.loads(openai_api.embeddings_body(read(EmbeddingsCall, embeddings(input=texts))))
    packed = orjson.loads(
        openai_api.embeddings_body(
            read(EmbeddingsCall, embeddings(input=texts, encoding_format="base64"))
        )
    )

    for index, text in enumerate(texts):
        unpacked = np.frombuffer(base64.b64decode(packed["data"][index]["embedding"]), "<f4")
        assert np.array_equal(unpacked, vector(text))
        assert np.allclose(plain["data"][index]["embedding"], unpacked, atol=1e-7)
    assert plain["usage"] == {"prompt_tokens": 2, "total_tokens": 2}


def test_fewer_dimensions_are_still_unit_long() -> None:
    """`dimensions` cuts and scales, as OpenAI's models do."""
    call = read(EmbeddingsCall, embeddings(dimensions=16))
    found = orjson.loads(openai_api.embeddings_body(call))["data"][0]["embedding"]

    assert len(found) == 16
    assert float(np.linalg.norm(found)) == pytest.approx(1.0, abs=1e-6)


def test_a_stream_spells_the_whole_answer() -> None:
    """The pieces put together are the answer's text; the last event carries end, usage, [DONE]."""
    call = read(ChatCall, chat(stream=True, stream_options={"include_usage": True}))
    said = openai_api.reply(3, 20, 1000)
    chunks = openai_api.chat_chunks(call, "id", 0, said, 8)
    events = [line[6:] for line in b"".join(chunks).split(b"\n\n") if line]
    values = [orjson.loads(event) for event in events[:-1]]

    text = "".join(v["choices"][0]["delta"].get("content", "") for v in values if v["choices"])
    assert text == said[0]
    assert events[-1] == b"[DONE]"
    assert values[-1]["usage"]["completion_tokens"] == 20
    assert values[-2]["choices"][0]["finish_reason"] == "stop"


def test_a_limit_ends_the_reply() -> None:
    """A reply longer than allowed has the tokens allowed and says `length`."""
    text, count, reason = openai_api.reply(3, 50, 7)

    assert (len(text.split()), count, reason) == (7, 7, "length")
