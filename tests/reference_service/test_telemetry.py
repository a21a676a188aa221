"""What the service records agrees with what PostgreSQL, Redis and the model server counted."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import psycopg
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.servers.chat_servers import ChatServers
from tests.support.traces.recorded_spans import attributes, read_metrics, read_spans

pytestmark = pytest.mark.integration

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
BAGGAGE = (
    "worthit.run=20261123T140000Z_x,worthit.arm=on,worthit.step=2,worthit.block=3,"
    "worthit.scenario=chat,worthit.draw=1000000007,other=1"
)
SECRET = "my heart belongs to xyzzy"


class Recorded:
    """One run of the service with every toggle on, and the servers' own counts around it."""

    spans: list[Span]
    resource: dict[str, Any]
    metrics: dict[str, Any]
    transactions: int
    redis_hits: int
    redis_misses: int
    log: str


@pytest.fixture(scope="module", name="recorded")
def _recorded(servers: ChatServers) -> Iterator[Recorded]:
    """Chat, look up, write and fail a little; then stop and collect."""
    client = servers.redis_client()
    client.flushall()
    client.script_flush()
    database = "telemetry"
    url = servers.call(servers.postgres.create_database(database, "postgres"))
    before_pg = _transactions(servers, database)
    before = client.info("stats")
    toggles = ("REDIS", "PREFERENCES_CACHE", "MEMORY_CACHE", "CONVERSATION_BUFFER", "RATE_LIMIT")
    settings = {f"{toggle}_ENABLED": "true" for toggle in toggles}
    settings |= {"DATABASE_URL": url, "RATE_LIMIT_PER_MINUTE": "6", "PERSONALITY_PREWARM": "5"}
    recorded = Recorded()
    with servers.recorder() as recorder:
        settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = recorder.endpoint
        with servers.service(**settings) as service:
            _work(service.url)
            recorded.log = servers.log(service)
        path = recorder.path
    recorded.resource, recorded.spans = read_spans(path)
    recorded.metrics = read_metrics(recorder.metrics_path)
    after = client.info("stats")
    recorded.redis_hits = after["keyspace_hits"] - before["keyspace_hits"]
    recorded.redis_misses = after["keyspace_misses"] - before["keyspace_misses"]
    recorded.transactions = _transactions(servers, database) - before_pg
    yield recorded
    servers.call(servers.postgres.drop_database(database))


def _work(url: str) -> None:
    traced = {"traceparent": f"00-{TRACE}-{PARENT}-01", "baggage": BAGGAGE}
    body = {"message": SECRET, "personality_name": "elara"}
    with httpx.Client(base_url=url, timeout=10) as client:
        client.post("/chat", json=body, headers={"X-User-Id": "traced", **traced})
        for index in range(10):  # two of them replays, which the limit does not count
            number = index % 3 if index < 5 else index
            user = {"X-User-Id": "u00003", "Idempotency-Key": f"k{number}"}
            client.post("/chat", json=body, headers=user)
        client.post("/chat", json={**body, "stream": True}, headers={"X-User-Id": "u00004"})
        client.get("/personalities/nobody")
        client.get("/personalities/nobody")
        config = {"archetype": "a", "system_prompt": "b", "traits": {}}
        client.put("/personalities/written", json=config)
        client.get("/personalities/written")
        client.delete("/personalities/written")
        for _ in range(5):
            client.get("/readyz")


def _transactions(servers: ChatServers, database: str) -> int:
    """Return PostgreSQL's own count, less the one with which each connection begins."""
    with psycopg.connect(servers.postgres.url(), autocommit=True) as connection:
        row = connection.execute(
            """SELECT xact_commit + xact_rollback - sessions FROM pg_stat_database
            WHERE datname = %s""",
            (database,),
        ).fetchone()
    assert row is not None
    return int(row[0])


def _all(recorded: Recorded, system: str) -> list[Span]:
    return [span for span in recorded.spans if attributes(span).get("db.system.name") == system]


def test_every_transaction_is_one_span(recorded: Recorded) -> None:
    """PostgreSQL's own count of transactions equals the database spans, start-up included."""
    assert recorded.transactions == len(_all(recorded, "postgresql"))
    assert recorded.transactions > 20


def test_redis_counts_the_same_hits_and_misses(recorded: Recorded) -> None:
    """The hits and misses on the spans add up to Redis's own."""
    found = [attributes(span) for span in _all(recorded, "redis")]
    hits = sum(span.get("worthit.redis.hits", 0) for span in found)
    misses = sum(span.get("worthit.redis.misses", 0) for span in found)

    assert (recorded.redis_hits, recorded.redis_misses) == (hits, misses)
    assert hits > 10
    assert misses > 10


def test_the_request_is_below_its_caller(recorded: Recorded) -> None:
    """The SERVER span continues the caller's trace; it alone carries its baggage, typed."""
    spans = [span for span in recorded.spans if span.trace_id.hex() == TRACE]
    [server] = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]

    assert ("POST /chat", PARENT) == (server.name, server.parent_span_id.hex())
    expected = {
        "http.request.method": "POST",
        "http.route": "/chat",
        "url.path": "/chat",
        "url.scheme": "http",
        "http.response.status_code": 200,
        "worthit.run": "20261123T140000Z_x",
        "worthit.arm": "on",
        "worthit.step": 2,
        "worthit.block": 3,
        "worthit.scenario": "chat",
        "worthit.draw": 1000000007,
    }
    assert expected == attributes(server)
    carriers = {
        span.name for span in spans if any("worthit.arm" == a.key for a in span.attributes)
    }
    assert {"POST /chat"} == carriers


def test_a_trace_is_whole(recorded: Recorded) -> None:
    """Each stage and call hangs where it belongs, once."""
    spans = {span.span_id: span for span in recorded.spans if span.trace_id.hex() == TRACE}
    tree = Counter(
        (spans[span.parent_span_id].name if span.parent_span_id in spans else "", span.name)
        for span in spans.values()
    )

    expected = {
        ("", "POST /chat"),
        ("POST /chat", "EVALSHA"),
        ("POST /chat", "personality.lookup"),
        ("personality.lookup", "MGET"),
        ("POST /chat", "preferences.load"),
        ("preferences.load", "GET"),
        ("preferences.load", "SELECT preferences"),
        ("preferences.load", "SET"),
        ("POST /chat", "memory.retrieve"),
        ("memory.retrieve", "GET"),
        ("memory.retrieve", "embeddings sim-embed"),
        ("memory.retrieve", "SELECT memories"),
        ("memory.retrieve", "SET"),
        ("POST /chat", "emotion.detect"),
        ("POST /chat", "conversation.load"),
        ("conversation.load", "ZRANGE"),
        ("conversation.load", "SET"),
        ("conversation.load", "SELECT turns"),
        ("POST /chat", "chat sim-chat"),
        ("POST /chat", "conversation.append"),
        ("conversation.append", "INSERT turns"),
        ("conversation.append", "EVALSHA"),
        ("conversation.append", "EVAL"),
    }
    assert expected == set(tree)
    assert {1} == set(tree.values())


def test_spans_have_the_attributes_of_the_conventions(recorded: Recorded) -> None:
    """Database, model and stage spans say what the semantic conventions ask for."""
    trace = {s.name: attributes(s) for s in recorded.spans if s.trace_id.hex() == TRACE}

    select = trace["SELECT preferences"]
    wait = select.pop("worthit.pool_wait_ns")
    assert 0 <= wait < 1_000_000_000
    assert select.pop("server.port") > 0
    assert {
        "db.system.name": "postgresql",
        "db.namespace": "telemetry",
        "db.operation.name": "SELECT",
        "db.collection.name": "preferences",
        "db.query.summary": "SELECT preferences",
        "db.query.text": "SELECT language, tone, reply_length FROM preferences WHERE user_id = $1",
        "server.address": "127.0.0.1",
    } == select
    mget = trace["MGET"]
    assert mget.pop("server.port") > 0
    assert {
        "db.system.name": "redis",
        "db.namespace": "0",
        "db.operation.name": "MGET",
        "server.address": "127.0.0.1",
        "worthit.redis.hits": 2,
        "worthit.redis.misses": 0,
    } == mget
    lookup = dict(trace["personality.lookup"])
    assert 16 == len(lookup.pop("worthit.key"))
    assert {"cache.hit": True, "cache.source": "redis"} == lookup
    chat = trace["chat sim-chat"]
    assert ("chat", "sim-chat") == (chat["gen_ai.operation.name"], chat["gen_ai.response.model"])
    assert ["stop"] == chat["gen_ai.response.finish_reasons"]
    assert chat["gen_ai.usage.input_tokens"] > 40
    assert chat["gen_ai.usage.output_tokens"] > 0
    assert "openai" == chat["gen_ai.provider.name"]


def test_the_model_server_continues_the_trace(servers: ChatServers, recorded: Recorded) -> None:
    """The simulator saw this trace's id, and the draw of its baggage, on chat and embedding."""
    assert recorded.spans
    calls: list[dict[str, Any]] = []
    for _ in range(50):  # the simulator writes its log once a second
        lines = servers.llm.log_path.read_text().splitlines()
        calls = [json.loads(line) for line in lines if TRACE in line]
        if len(calls) == 2:
            break
        time.sleep(0.1)
    assert {("chat", 1000000007), ("embeddings", 1000000007)} == {
        (call["kind"], call["draw"]) for call in calls
    }


def test_nothing_a_user_said_or_is_named_is_recorded(recorded: Recorded) -> None:
    """No message, user id, personality key or value is in any span or log line."""
    spans = "".join(str(span) for span in recorded.spans)
    for secret in ("xyzzy", "u00003", "personality:global", "preferences:u", "Idempotency"):
        assert secret not in spans
    for secret in ("xyzzy", "u00003"):
        assert secret not in recorded.log


def test_failures_are_marked(recorded: Recorded) -> None:
    """A refused request is no failure of the server; its status code says what it was."""
    statuses = Counter(
        attributes(span)["http.response.status_code"]
        for span in recorded.spans
        if span.kind == Span.SPAN_KIND_SERVER
    )
    assert statuses[429] >= 1
    assert 2 == statuses[404]
    assert not any(span.status.code for span in recorded.spans)


def test_log_lines_name_their_trace(recorded: Recorded) -> None:
    """Each line is JSON; lines written for a request carry its trace and span id."""
    lines = [json.loads(line) for line in recorded.log.splitlines()]
    spans = {(span.trace_id.hex(), span.span_id.hex()) for span in recorded.spans}
    named = {(line["trace_id"], line["span_id"]) for line in lines if "trace_id" in line}

    assert named
    assert named <= spans


def test_metrics_are_exported_under_their_conventional_names(recorded: Recorded) -> None:
    """Histograms and counts arrive by OTLP and agree with the spans."""
    metrics = recorded.metrics
    servers = [span for span in recorded.spans if span.kind == Span.SPAN_KIND_SERVER]
    requests = sum(point.count for point in metrics["http.server.request.duration"])
    statements = sum(
        point.count
        for point in metrics["db.client.operation.duration"]
        if any(pair.value.string_value == "postgresql" for pair in point.attributes)
    )

    assert len(servers) == requests
    assert len(_all(recorded, "postgresql")) == statements
    assert metrics.keys() >= {
        "db.client.connection.count",
        "db.client.connection.pending_requests",
        "db.client.connection.timeouts",
        "gen_ai.client.operation.duration",
        "chat.cache.lookups",
        "chat.redis.breaker",
    }
    assert "chat" == recorded.resource["service.name"]


class _Refuser(BaseHTTPRequestHandler):
    """A collector that takes its time and then refuses."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.mark.parametrize("collector", ["refusing", "absent"])
def test_a_failing_collector_fails_no_request(servers: ChatServers, collector: str) -> None:
    """Chats are answered while the collector refuses or is not there, and the process ends."""
    refuser = HTTPServer(("127.0.0.1", 0), _Refuser)
    port = refuser.server_address[1]
    threading.Thread(target=refuser.serve_forever, daemon=True).start()
    if collector == "absent":
        refuser.shutdown()
        refuser.server_close()
    body = {"message": "Hi", "personality_name": "elara"}
    endpoint = f"http://127.0.0.1:{port}"
    with (
        servers.service(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as service,
        httpx.Client(base_url=service.url, headers={"X-User-Id": "x"}) as client,
    ):
        statuses = [client.post("/chat", json=body).status_code for _ in range(20)]
    if collector == "refusing":
        refuser.shutdown()
        refuser.server_close()

    assert [200] * 20 == statuses
