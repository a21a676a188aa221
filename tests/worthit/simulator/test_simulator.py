"""The LLM simulator as a process, asked over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from worthit.environment.simulator import Simulator
from worthit.process.workspace import Workspace
from worthit.simulator.latency import LogNormal, uniform

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

CHAT: dict[str, Any] = {"model": "sim-chat", "messages": [{"role": "user", "content": "Hi"}]}
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


@pytest_asyncio.fixture(name="native", scope="module", loop_scope="module")
async def _native() -> AsyncIterator[Simulator]:
    """One that does not wait, shared by the module's tests."""
    async with Workspace() as workspace, Simulator(workspace, seed=5) as simulator:
        yield simulator


def headers(draw: int) -> dict[str, str]:
    """What a service passes on."""
    return {
        "baggage": f"worthit.run=r1, worthit.draw={draw};x=y,other=1",
        "traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01",
    }


def log_of(simulator: Simulator) -> list[dict[str, Any]]:
    """What it wrote down; complete once it has stopped."""
    return [json.loads(line) for line in simulator.log_path.read_text().splitlines()]


async def test_it_takes_what_it_was_told_to_and_says_so() -> None:
    """Each call lasts as its draw says, as the client sees it and as the log says."""
    drawn = LogNormal(low_s=2.0, high_s=4.0)
    draws = [draw for draw in range(80) if uniform(5, 1, draw) < 0.3]  # under 2.6 s each
    async with (
        Workspace() as workspace,
        Simulator(workspace, seed=5, profile="seed") as simulator,
        httpx.AsyncClient(base_url=simulator.base_url, timeout=20) as client,
    ):

        async def call(draw: int) -> float:
            began = time.perf_counter()
            answer = await client.post("/chat/completions", json=CHAT, headers=headers(draw))
            assert answer.status_code == 200
            return time.perf_counter() - began

        seen = await asyncio.gather(*map(call, draws))
        await simulator.stop()
        logged = {row["draw"]: row for row in log_of(simulator)}

    assert sorted(logged) == draws
    for draw, seconds in zip(draws, seen, strict=True):
        row = logged[draw]
        assert row["planned_ns"] == drawn.at(uniform(5, 1, draw))
        assert row["actual_ns"] >= row["planned_ns"] - 2_000_000  # the loop's timers tick in ms
        assert seconds * 1e9 >= row["actual_ns"] - 2_000_000
        assert (row["kind"], row["trace_id"], row["status"]) == ("chat", TRACE_ID, 200)


async def test_the_same_draw_gets_the_same_answer(native: Simulator) -> None:
    """Reply and tokens follow from the draw; without one, from the body."""
    async with httpx.AsyncClient(base_url=native.base_url) as client:

        async def ask(draw: int | None, text: str = "Hi") -> tuple[str, int]:
            body = {**CHAT, "messages": [{"role": "user", "content": text}]}
            sent = headers(draw) if draw is not None else {}
            answer = (await client.post("/chat/completions", json=body, headers=sent)).json()
            return answer["id"], answer["usage"]["completion_tokens"]

        assert await ask(3) == await ask(3, "something else")
        assert await ask(3) != await ask(4)
        assert await ask(None) == await ask(None)
        assert await ask(None) != await ask(None, "something else")


async def test_a_stream_comes_in_pieces(native: Simulator) -> None:
    """Server-sent events, one after the other, ended by [DONE]; the connection lives on."""
    async with httpx.AsyncClient(base_url=native.base_url) as client:
        body = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
        async with client.stream("POST", "/chat/completions", json=body) as answer:
            lines = [line async for line in answer.aiter_lines() if line]
        again = await client.get("/models")

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert lines[-1] == "data: [DONE]"
    assert len(lines) > 4
    assert again.status_code == 200


async def test_no_piece_of_a_stream_comes_before_its_time() -> None:
    """The first after a quarter of the planned time, the others evenly; a client may leave."""
    body = {**CHAT, "stream": True}
    planned_s = 0.8
    async with Workspace() as workspace, Simulator(workspace, seed=5) as simulator:
        await simulator.fault(kind="chat", extra_ms=planned_s * 1000)
        async with httpx.AsyncClient(base_url=simulator.base_url) as client:
            began = time.perf_counter()
            async with client.stream("POST", "/chat/completions", json=body) as answer:
                came_s = [
                    time.perf_counter() - began
                    async for piece in answer.aiter_raw()
                    for _ in range(piece.count(b"data: {"))  # one read may hold several
                ]
            async with client.stream("POST", "/chat/completions", json=body) as answer:
                await anext(answer.aiter_raw())
        health = simulator.base_url.removesuffix("/v1") + "/healthz"
        async with httpx.AsyncClient() as client:
            while (await client.get(health)).json()["in_flight"]:  # noqa: ASYNC110 - asked by HTTP
                await asyncio.sleep(0.02)
        await simulator.stop()
        whole, left = log_of(simulator)

    due_s = [planned_s * (0.25 + 0.75 * i / (len(came_s) - 1)) for i in range(len(came_s))]
    assert len(came_s) > 4
    # the loop's timers tick in milliseconds
    assert all(came > due - 0.002 for came, due in zip(came_s, due_s, strict=True))
    assert (whole["status"], left["status"]) == (200, 499)
    assert left["actual_ns"] < left["planned_ns"] <= whole["actual_ns"] + 2_000_000


async def test_faults_fail_the_share_they_were_told_to(native: Simulator) -> None:
    """A rate of 0.3 fails about that share, the same draws each time; then it is over."""
    async with httpx.AsyncClient(base_url=native.base_url) as client:

        async def statuses() -> list[int]:
            answers = [
                await client.post("/chat/completions", json=CHAT, headers=headers(draw))
                for draw in range(200)
            ]
            return [answer.status_code for answer in answers]

        await native.fault(kind="chat", status=429, rate=0.3)
        first, second = await statuses(), await statuses()
        untouched = await client.post("/embeddings", json={"model": "m", "input": "x"})
        await native.fault()
        after = await statuses()

    assert first == second
    assert set(first) == {200, 429}
    assert 30 < first.count(429) < 90  # 60 expected; five standard deviations are 32
    assert untouched.status_code == 200
    assert set(after) == {200}


async def test_a_client_that_gives_up_is_logged_as_gone() -> None:
    """A call cut off by the client is 499 in the log, with the time it was waited for."""
    async with Workspace() as workspace, Simulator(workspace, profile="seed") as simulator:
        async with httpx.AsyncClient(base_url=simulator.base_url, timeout=0.2) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.post("/chat/completions", json=CHAT)
        await simulator.stop()
        rows = log_of(simulator)

    assert [row["status"] for row in rows] == [499]
    assert rows[0]["actual_ns"] < rows[0]["planned_ns"]


async def test_a_call_owns_up_to_what_it_only_waited_for(native: Simulator) -> None:
    """The header `worthit-emulated-ns` says how long the simulator slept, and is absent else."""
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    async with httpx.AsyncClient(base_url=native.base_url) as client:
        fault = native.base_url.removesuffix("/v1") + "/admin/fault"
        prompt = await client.post("/chat/completions", json=body)
        await client.post(fault, json={"kind": "chat", "extra_ms": 30})
        slow = await client.post("/chat/completions", json=body)
        streamed = await client.post("/chat/completions", json={**body, "stream": True})
        await client.delete(fault)

    assert "worthit-emulated-ns" not in prompt.headers
    assert slow.headers["worthit-emulated-ns"] == "30000000"
    assert streamed.headers["worthit-emulated-ns"] == "30000000"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/nothing", 404),
        ("POST", "/v1/chat/completions", 400),
        ("POST", "/v1/embeddings", 400),
        ("POST", "/admin/fault", 400),
    ],
)
async def test_bad_requests_get_an_openai_error(
    native: Simulator, method: str, path: str, status: int
) -> None:
    """Whatever is wrong, the answer has OpenAI's error shape."""
    async with httpx.AsyncClient(base_url=native.base_url.removesuffix("/v1")) as client:
        answer = await client.request(method, path, content=b'{"x": 1')

    assert answer.status_code == status
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("sent", "begins"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"HTTP/1.1 400"),
        (b"GET / HTTP/9.9\r\n\r\n", b"HTTP/1.1 400"),
        (b"POST /v1/embeddings HTTP/1.1\r\ncontent-length: x\r\n\r\n", b"HTTP/1.1 400"),
        (
            b"POST /v1/embeddings HTTP/1.1\r\ncontent-length: 9000000\r\n\r\n" + b"x" * 9_000_000,
            b"HTTP/1.1 413",
        ),
        (b"GET /healthz HTTP/1.0\r\n\r\n", b"HTTP/1.1 200"),
        (
            b"GET /healthz HTTP/1.1\r\n\r\n" * 2 + b"GET /x HTTP/1.1\r\nconnection: close\r\n\r\n",
            b"HTTP/1.1 200",
        ),
    ],
    ids=["TLS", "version", "length", "too large", "HTTP/1.0", "pipelined"],
)
async def test_broken_http_is_answered_and_survived(
    native: Simulator, sent: bytes, begins: bytes
) -> None:
    """Not-quite-HTTP gets a status, pipelined requests their order, and the server stays."""
    port = int(native.base_url.split(":")[2].split("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    answer = b""
    with contextlib.suppress(ConnectionResetError):  # what it refused to read is left unread
        while more := await asyncio.wait_for(reader.read(65536), 10):
            answer += more
    writer.close()

    assert answer.startswith(begins)
    if sent.count(b"GET /") == 3:
        assert answer.count(b"HTTP/1.1 200") == 2
        assert answer.rindex(b"HTTP/1.1 404") > answer.rindex(b"HTTP/1.1 200")
    assert native.process.alive
