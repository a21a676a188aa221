"""`POST /chat` over HTTP, against real servers: what is answered, and what is stored by then."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from tests.support.servers.chat_servers import ChatServers
from worthit.environment.service import Service

pytestmark = pytest.mark.integration

TURNS = "SELECT user_message, reply FROM turns WHERE user_id = %s ORDER BY id"


@pytest.fixture(scope="module", name="service")
def _service(servers: ChatServers) -> Iterator[Service]:
    with servers.service(REDIS_ENABLED="true", LLM_TIMEOUT_SECONDS="0.5", LLM_RETRIES="0") as one:
        yield one


@pytest.fixture(name="client")
def _client(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=10) as client:
        yield client


def _chat(client: httpx.Client, user: str, message: str = "Hi", **headers: str) -> httpx.Response:
    body = {"message": message, "personality_name": "elara"}
    return client.post("/chat", json=body, headers={"X-User-Id": user, **headers})


def test_a_200_says_that_the_turn_is_stored(servers: ChatServers, client: httpx.Client) -> None:
    """When the reply arrives, PostgreSQL holds the turn, once, with that reply."""
    answered = _chat(client, "stored-1", "I am glad to see you")

    assert 200 == answered.status_code
    reply = answered.json()
    assert [("I am glad to see you", reply["reply"])] == servers.rows(TURNS, "stored-1")
    assert "joy" == reply["emotion"]["label"]


def test_the_write_ups_own_curl_works(servers: ChatServers, service: Service) -> None:
    """The request as the write-up has it, with curl's own content type, is answered."""
    answered = subprocess.run(
        [
            *("curl", "-s", "-X", "POST", f"{service.url}/chat", "-H", "X-User-Id: test"),
            *("-d", '{"message": "Hi", "personality_name": "elara"}'),
        ],
        capture_output=True,
        check=True,
    )

    assert json.loads(answered.stdout)["turn_id"] > 0
    assert 1 == len(servers.rows(TURNS, "test"))


def test_the_log_has_the_lines_that_the_write_up_greps_for(
    servers: ChatServers, service: Service, client: httpx.Client
) -> None:
    """Connected, cached and hit are in the log, under the words that operators look for."""
    servers.redis_client().flushall()
    for _ in range(2):
        identity = client.get("/personalities/p00050").json()["id"]

    lines = [json.loads(line)["message"] for line in servers.log(service).splitlines()]
    assert "✅ PersonalityCache: Connected to Redis" in lines
    assert f"💾 Cached personality 'p00050' -> {identity}" in lines
    assert "✅ Cache hit for personality 'p00050'" in lines


def test_a_repeated_key_is_answered_from_the_store(
    servers: ChatServers, client: httpx.Client
) -> None:
    """The same Idempotency-Key again gives the first reply and stores nothing more."""
    first, again = (_chat(client, "again-1", **{"Idempotency-Key": "k1"}).json() for _ in range(2))

    assert (False, True) == (first["replayed"], again["replayed"])
    assert (first["turn_id"], first["reply"]) == (again["turn_id"], again["reply"])
    assert 1 == len(servers.rows(TURNS, "again-1"))


def test_a_key_used_for_another_message_is_refused(client: httpx.Client) -> None:
    """An Idempotency-Key that comes back with another message is a 422 of its own."""
    _chat(client, "again-2", "one", **{"Idempotency-Key": "k1"})
    other = _chat(client, "again-2", "two", **{"Idempotency-Key": "k1"})

    assert (422, "idempotency_key_reused") == (other.status_code, other.json()["error"])


async def test_simultaneous_requests_with_one_key_store_one_turn(
    servers: ChatServers, service: Service
) -> None:
    """Ten requests at once with one key: one row, ten times the same reply."""
    async with httpx.AsyncClient(base_url=service.url, timeout=10) as client:
        answers = await asyncio.gather(
            *(
                client.post(
                    "/chat",
                    json={"message": "Hi", "personality_name": "elara"},
                    headers={"X-User-Id": "again-3", "Idempotency-Key": "k1"},
                )
                for _ in range(10)
            )
        )

    assert 1 == len({(answer.json()["turn_id"], answer.json()["reply"]) for answer in answers})
    assert 1 == len(servers.rows(TURNS, "again-3"))


def test_the_conversation_goes_on(servers: ChatServers, client: httpx.Client) -> None:
    """Earlier turns reach the model: the prompt grows by what was said."""
    traces = [f"{number:032x}" for number in (0xA1, 0xA2, 0xA3)]
    for trace in traces:
        parent = {"traceparent": f"00-{trace}-{1:016x}-01"}
        _chat(client, "goes-on", "Tell me about the sea and the wind that moves it", **parent)
    found = _model_calls(servers, traces)
    tokens = [found[trace] for trace in traces]

    assert tokens == sorted(set(tokens))


def test_a_streamed_reply_ends_stored(servers: ChatServers, client: httpx.Client) -> None:
    """The pieces of a stream add up to the reply of `done`, which PostgreSQL has."""
    body = {"message": "Hi", "personality_name": "elara", "stream": True}
    with client.stream("POST", "/chat", json=body, headers={"X-User-Id": "streams"}) as answered:
        kind = answered.headers["content-type"]
        events = _events(answered.read().decode())

    assert "text/event-stream; charset=utf-8" == kind
    text = "".join(data["text"] for name, data in events if name == "delta")
    [(last, done)] = events[-1:]
    assert ("done", text) == (last, done["reply"])
    assert len(events) > 3
    assert [("Hi", text)] == servers.rows(TURNS, "streams")


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"status": 500, "rate": 1.0}, 502, "model_unavailable"),
        ({"status": 400, "rate": 1.0}, 502, "model_refused"),
        ({"status": 429, "rate": 1.0}, 503, "model_overloaded"),
        ({"status": 503, "rate": 1.0}, 503, "model_overloaded"),
        ({"extra_ms": 9000}, 504, "model_timeout"),
    ],
    ids=["500", "400", "429", "503", "slow"],
)
def test_a_failing_model_gets_a_clear_answer(
    servers: ChatServers,
    client: httpx.Client,
    fault: dict[str, object],
    status: int,
    code: str,
) -> None:
    """Whatever the model server does, the answer names it, is no 500, and no turn is stored."""
    user = f"fails-{status}-{fault.get('status')}"
    body = {"message": "Hi", "personality_name": "elara"}
    servers.call(servers.llm.fault(kind="chat", **fault))
    try:
        answers = [
            client.post("/chat", json={**body, "stream": stream}, headers={"X-User-Id": user})
            for stream in (False, True)
        ]
    finally:
        servers.call(servers.llm.fault())

    assert [(status, code)] * 2 == [(one.status_code, one.json()["error"]) for one in answers]
    assert all("retry-after" in one.headers for one in answers if status == 503)
    assert [] == servers.rows(TURNS, user)


def test_memories_are_done_without_when_they_cannot_be_embedded(
    servers: ChatServers, client: httpx.Client
) -> None:
    """When only embeddings fail, the user still gets a reply, without memories."""
    servers.call(servers.llm.fault(kind="embeddings", status=500, rate=1.0))
    try:
        answered = _chat(client, "u00001")
    finally:
        servers.call(servers.llm.fault())

    assert (200, 0) == (answered.status_code, answered.json()["memories_used"])
    assert 5 == _chat(client, "u00001").json()["memories_used"]


@pytest.mark.parametrize(
    ("path", "changes", "status"),
    [
        ("/chat", {"content": b"{"}, 422),
        ("/chat", {"content": b"\xff\xfe"}, 422),
        ("/chat", {"json": {"message": "", "personality_name": "elara"}}, 422),
        ("/chat", {"json": {"message": "x" * 8001, "personality_name": "elara"}}, 422),
        ("/chat", {"json": {"message": "a\x00b", "personality_name": "elara"}}, 422),
        ("/chat", {"content": b'{"message":"\\ud800","personality_name":"elara"}'}, 422),
        ("/chat", {"json": {"message": "x", "personality_name": "../etc"}}, 422),
        ("/chat", {"json": {"message": "x", "personality_name": "elara:id"}}, 422),
        ("/chat", {"json": {"message": "x", "personality_name": "elara", "more": 1}}, 422),
        ("/chat", {"headers": {"X-User-Id": "a b"}}, 422),
        ("/chat", {"headers": {}}, 422),
        ("/chat", {"headers": {"X-User-Id": "x", "Idempotency-Key": "a b"}}, 422),
        ("/chat", {"json": {"message": "x", "personality_name": "not-there"}}, 404),
        ("/chat", {"content": b"x" * 70_000}, 413),
        ("/nowhere", {}, 404),
    ],
)
def test_bad_input_is_refused_in_one_form(
    client: httpx.Client, path: str, changes: dict[str, object], status: int
) -> None:
    """Every refusal is JSON with one word for programs and one sentence for people."""
    sent: dict[str, object] = {"headers": {"X-User-Id": "bad"}, **changes}
    if "content" not in sent and "json" not in sent:
        sent["json"] = {"message": "Hi", "personality_name": "elara"}
    answered = client.post(path, **sent)  # type: ignore[arg-type]  # the cases above

    assert status == answered.status_code
    assert {"error", "message"} == set(answered.json())
    assert "Traceback" not in answered.text


def test_sql_in_a_message_is_a_message(servers: ChatServers, client: httpx.Client) -> None:
    """Quotes and statements travel as parameters and are stored as they came."""
    message = "'); DROP TABLE turns; -- \\ % %s $1"
    assert 200 == _chat(client, "bobby", message).status_code
    assert message == servers.rows(TURNS, "bobby")[0][0]


def test_the_api_key_is_demanded_when_one_is_set(servers: ChatServers) -> None:
    """With API_KEY set, nothing but health and metrics is answered without it."""
    with servers.service(API_KEY="open sesame") as service:
        without = httpx.get(f"{service.url}/personalities/elara")
        wrong = httpx.get(f"{service.url}/personalities/elara", headers={"X-Api-Key": "x"})
        right = httpx.get(
            f"{service.url}/personalities/elara", headers={"X-Api-Key": "open sesame"}
        )
        health = httpx.get(f"{service.url}/healthz")

    found = [answer.status_code for answer in (without, wrong, right, health)]
    assert [401, 401, 200, 200] == found


async def test_memories_of_another_user_are_out_of_reach(servers: ChatServers) -> None:
    """Searched by user or by the HNSW index, only this user's memories are found."""
    plans = set()
    for off in ("enable_sort", "enable_indexscan"):
        url = f"{servers.postgres.url()}?options=-c%20{off}%3Doff"
        async with servers.parts(database_url=url) as (parts, _):
            embedding = await parts.models.embed("the sea")
            found = await parts.memories.nearest("u00003", embedding, 12)
            assert {"u00003"} == {memory.content.split()[0] for memory in found}
            assert 12 == len(found)
            assert found == sorted(found, key=lambda memory: memory.distance)
        plans.add(_plan(servers, off))

    assert plans == {"memories_embedding", "memories_user"}


def _model_calls(servers: ChatServers, traces: list[str]) -> dict[str, int]:
    """Return the prompt tokens of chats by trace, as the simulator logged them."""
    found: dict[str, int] = {}
    for _ in range(50):
        for line in servers.llm.log_path.read_text().splitlines():
            call = json.loads(line)
            if call["kind"] == "chat":
                found[call["trace_id"]] = call["input_tokens"]
        if found.keys() >= set(traces):
            break
        time.sleep(0.1)
    return found


def _plan(servers: ChatServers, off: str) -> str:
    """Return the index that PostgreSQL uses for a search when one way is switched off."""
    vector = "[" + ",".join(["0.1"] * 256) + "]"
    options = f"-c {off}=off -c hnsw.iterative_scan=strict_order"
    with psycopg.connect(servers.postgres.url(), options=options) as connection:
        plan = connection.execute(
            """EXPLAIN (FORMAT JSON) SELECT content FROM memories WHERE user_id = 'u00003'
            ORDER BY embedding <=> %s::vector LIMIT 5""",
            (vector,),
        ).fetchone()
    return "memories_embedding" if "memories_embedding" in str(plan) else "memories_user"


def _events(text: str) -> list[tuple[str, dict[str, str]]]:
    """Return a stream's events as name and data."""
    events = []
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n")
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events
