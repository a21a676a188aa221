"""Streamed replies, as services send them and as a run records them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.load.locust_process import (
    PLUGIN,
    free_port,
    recorded,
    run_locust,
    start_module,
)
from worthit.load.requests.token_stream import TokenStream
from worthit.simulator.server import FIRST_PIECE_SHARE


def sse(*events: str) -> bytes:
    """Return events as a body."""
    return "".join(f"{event}\n\n" for event in events).encode()


def chunk(**delta: object) -> str:
    """Return a chunk of OpenAI's chat completions."""
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta}]})}"


OPENAI = sse(
    chunk(role="assistant", content=""),
    chunk(content="Hel"),
    ": a comment keeps the connection alive",
    chunk(content="lo – ü"),
    chunk(),
    'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5}}',
    "data: [DONE]",
)
NO_USAGE = sse(chunk(content="a"), chunk(reasoning_content="b"), "data: [DONE]")
COMPLETIONS = sse('data: {"choices": [{"text": "a"}]}', 'data: {"choices": [{"text": ""}]}')
OURS = sse(
    'event: delta\ndata: {"text": "Hi"}',
    'event: delta\ndata: {"text": " there"}',
    'event: done\ndata: {"turn_id": 1, "reply": "Hi there"}',
)
RESPONSES = sse(
    'event: response.created\ndata: {"type": "response.created", "response": {"usage": null}}',
    'data: {"type": "response.output_text.delta", "delta": "Hi"}',
    'data: {"type": "response.completed", "response": {"usage": {"output_tokens": 3}}}',
)
ANTHROPIC = sse(
    'event: message_start\ndata: {"type": "message_start", "message": {}}',
    'event: content_block_delta\ndata: {"type": "content_block_delta", "index": 0, '
    '"delta": {"type": "text_delta", "text": "Hi"}}',
    'event: message_delta\ndata: {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, '
    '"usage": {"output_tokens": 7}}',
)


@pytest.mark.parametrize(
    ("body", "pieces", "tokens"),
    [
        (OPENAI, 2, 5),
        (OPENAI.replace(b"\n", b"\r\n"), 2, 5),
        (NO_USAGE, 2, None),
        (COMPLETIONS, 1, None),
        (OURS, 2, None),
        (RESPONSES, 1, 3),
        (ANTHROPIC, 1, 7),
        (sse("data: {broken", "data: 7", 'data: {"choices": 3}'), 0, None),
    ],
    ids=["openai", "crlf", "no usage", "completions", "ours", "responses", "anthropic", "other"],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_pieces_and_tokens_are_counted_however_the_bytes_are_cut(
    body: bytes, pieces: int, tokens: int | None, size: int
) -> None:
    """Role, usage, comments and [DONE] are no pieces; what the reply says of its tokens holds."""
    stream = TokenStream()
    for at in range(0, len(body), size):
        stream.feed(body[at : at + size], 1000 + at)

    assert (stream.pieces, stream.tokens) == (pieces, tokens)
    assert (stream.first_ns is None) == (pieces == 0)


def test_a_piece_is_there_when_its_event_is_whole() -> None:
    """Of a piece in two parts the time is that of the second."""
    stream = TokenStream()
    first, second = sse(chunk(content="a")), sse(chunk(content="b"))

    for part, now_ns in ((first[:-3], 10), (first[-3:], 20), (second, 30)):
        stream.feed(part, now_ns)

    assert (stream.first_ns, stream.last_ns) == (20, 30)


def test_a_compressed_stream_is_read() -> None:
    """As FastHttpUser asks for, and a service may send."""
    stream = TokenStream(content_encoding="gzip")
    stream.feed(gzip.compress(OPENAI), 1)

    assert (stream.pieces, stream.tokens) == (2, 5)


LOCUSTFILE = """
from locust import FastHttpUser, HttpUser, constant, task
from locust.exception import StopUser
from worthit.load import stream_chat

BODY = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}


class Fast(FastHttpUser):
    fixed_count = 1
    wait_time = constant(0)

    @task
    def ask(self):
        stream_chat(self.client, "Tell me.", model="m", name="helper fast")
        raise StopUser


class Plain(HttpUser):
    fixed_count = 1
    wait_time = constant(0)

    @task
    def ask(self):
        stream_chat(self.client, "Tell me.", model="m", name="helper plain")
        raise StopUser


class Lines(HttpUser):
    fixed_count = 1
    wait_time = constant(0)

    @task
    def ask(self):
        with self.client.post(
            "/v1/chat/completions", json=BODY, stream=True, catch_response=True, name="lines"
        ) as response:
            for _line in response.iter_lines():
                pass
            response.success()
        raise StopUser


class FastLines(FastHttpUser):
    fixed_count = 1
    wait_time = constant(0)

    @task
    def ask(self):
        for _line in self.client.iter_lines(
            "/v1/chat/completions", method="POST", json=BODY, name="fast lines"
        ):
            pass
        self.client.get("/healthz", name="no stream")
        raise StopUser
"""


@pytest.mark.integration
def test_a_runs_rows_have_the_tokens_that_the_simulator_sent(tmp_path: Path) -> None:
    """First and last token when the simulator planned them, and as many tokens as it logged."""
    theirs, out, log = tmp_path / "theirs.py", tmp_path / "out", tmp_path / "llm.jsonl"
    theirs.write_text(LOCUSTFILE, encoding="utf-8")
    port = free_port()
    with start_module(
        "worthit.simulator", "--port", str(port), "--profile", "seed", "--log", str(log), port=port
    ):
        code, output = run_locust(
            "--host", f"http://127.0.0.1:{port}", "--users", "4", "--spawn-rate", "50",
            "-t", "10s", "--worthit-out", str(out), "--threshold",
            "goodput{time_to_first_token:60000,inter_token_latency:60000}: count==4",
            files=f"{theirs},{PLUGIN}", cwd=tmp_path,
        )  # fmt: skip

    rows = recorded(out).set_index("name")
    calls = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    told: dict[str, Any] = {call["trace_id"]: call for call in calls if call["kind"] == "chat"}
    assert "it holds" in output, output
    assert code == 0, output
    assert rows.loc["no stream", ["first_token_ns", "output_pieces"]].isna().all()
    for name in ("helper fast", "helper plain", "lines", "fast lines"):
        row, call = rows.loc[name], told[rows.loc[name, "trace_id"]]
        pieces = int(row["output_pieces"])
        last_share = 1 - (1 - FIRST_PIECE_SHARE) / pieces
        first_ns, last_ns = (
            row[at] - row["sent_ns"] for at in ("first_token_ns", "last_token_ns")
        )
        assert first_ns / call["planned_ns"] == pytest.approx(FIRST_PIECE_SHARE, abs=0.1), name
        assert last_ns / call["planned_ns"] == pytest.approx(last_share, abs=0.1), name
        usage = call["output_tokens"] if name.startswith("helper") else None
        assert row["output_tokens"] == usage or (usage is None and row.isna()["output_tokens"])
