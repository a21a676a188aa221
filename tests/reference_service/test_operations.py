"""Running the service: stopping it, several workers, toggles, limits, metrics, both pipelines."""

from __future__ import annotations

import asyncio
import threading
import time

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from reference_service.errors import ServiceError
from reference_service.models import ChatRequest
from tests.support.servers.chat_servers import ChatServers
from tests.support.traces.span_sink import attributes

pytestmark = pytest.mark.integration

BODY = {"message": "Hi", "personality_name": "elara"}


def test_a_stopping_service_finishes_what_is_in_flight(servers: ChatServers) -> None:
    """SIGTERM in the middle of a chat: it is answered and stored, then the process ends."""
    answers: list[httpx.Response] = []
    servers.call(servers.llm.fault(kind="chat", extra_ms=800))
    try:
        with servers.service() as service:
            url = f"{service.url}/chat"
            headers = {"X-User-Id": "in-flight"}
            asking = threading.Thread(
                target=lambda: answers.append(
                    httpx.post(url, json=BODY, headers=headers, timeout=9)
                )
            )
            asking.start()
            time.sleep(0.3)
            servers.call(service.stop())
            asking.join()
            [process] = service.processes
    finally:
        servers.call(servers.llm.fault())

    assert [200] == [answer.status_code for answer in answers]
    assert 1 == len(servers.rows("SELECT id FROM turns WHERE user_id = 'in-flight'"))
    assert process.returncode in (0, -15)  # uvicorn raises the signal again once all is done


def test_several_workers_share_one_port(servers: ChatServers) -> None:
    """With --workers 2 two processes answer on one address, with one cache and one rate limit."""
    settings = {
        "REDIS_ENABLED": "true",
        "RATE_LIMIT_ENABLED": "true",
        "RATE_LIMIT_PER_MINUTE": "5",
    }
    with servers.service(workers=2, **settings) as service:
        statuses = []
        for _ in range(12):  # a connection each, so that both workers get some
            answer = httpx.post(f"{service.url}/chat", json=BODY, headers={"X-User-Id": "limited"})
            statuses.append(answer.status_code)
        other = httpx.post(f"{service.url}/chat", json=BODY, headers={"X-User-Id": "another"})
        processes = len(service.pids())

    assert [200] * 5 + [429] * 7 == statuses
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert 200 == other.status_code
    assert processes >= 3


def test_metrics_are_prometheus_text(servers: ChatServers) -> None:
    """`/metrics` is readable, and its counts are those of the requests made."""
    with (
        servers.service(REDIS_ENABLED="true") as service,
        httpx.Client(base_url=service.url) as client,
    ):
        for _ in range(3):
            client.post("/chat", json=BODY, headers={"X-User-Id": "measured"})
        text = client.get("/metrics").text

    samples = [
        sample for family in text_string_to_metric_families(text) for sample in family.samples
    ]
    labels = {
        "http_request_method": "POST",
        "url_scheme": "http",
        "http_route": "/chat",
        "http_response_status_code": "200",
    }
    counts = [
        (sample.labels, sample.value)
        for sample in samples
        if sample.name == "http_server_request_duration_seconds_count"
    ]
    assert [(labels, 3.0)] == counts
    assert "db_client_connection_count" in {sample.name for sample in samples}


@pytest.mark.parametrize("pipeline", ["sequential", "parallel"])
async def test_both_pipelines_give_the_same_reply(servers: ChatServers, pipeline: str) -> None:
    """The stages run one after the other or at once, with the same outcome and the same spans."""
    request = ChatRequest.model_validate({**BODY, "message": "I am glad"})
    async with servers.parts(pipeline=pipeline, latency_profile="seed") as (parts, sink):
        began = time.perf_counter()
        reply = await parts.chat.reply("u00005", request, None)
        seconds = time.perf_counter() - began
        stages = [
            span
            for span in sink.spans
            if span.name in {"preferences.load", "memory.retrieve", "emotion.detect"}
        ]

    assert ("joy", 5) == (reply.emotion.label, reply.memories_used)
    assert 3 == len(stages)
    assert all(attributes(span)["worthit.emulated_ns"] > 0 for span in stages)
    spent = sum(span.end_time - span.start_time for span in stages) / 1e9
    if pipeline == "sequential":
        assert seconds > spent
    else:
        ends = min(span.end_time for span in stages)
        assert all(span.start_time < ends for span in stages)


async def test_a_failure_in_one_parallel_stage_has_its_own_answer(servers: ChatServers) -> None:
    """When PostgreSQL is away, the parallel pipeline answers as the sequential one does."""
    request = ChatRequest.model_validate(BODY)
    async with servers.parts(
        redis_enabled=True, pipeline="parallel", db_pool_timeout_seconds=0.3
    ) as (parts, _):
        await parts.personalities.get_personality("elara")
        await parts.database.pool.close()
        with pytest.raises(ServiceError) as failed:
            await parts.chat.reply("u00005", request, None)

    assert (503, "database_unavailable") == (failed.value.status, failed.value.code)


async def test_each_cache_saves_its_query(servers: ChatServers) -> None:
    """Of a repeated chat's queries, each toggle takes its own away and no other."""
    servers.redis_client().flushall()
    request = ChatRequest.model_validate(BODY)
    toggles = {
        "redis_enabled": "SELECT personalities",
        "preferences_cache_enabled": "SELECT preferences",
        "memory_cache_enabled": "SELECT memories",
        "conversation_buffer_enabled": "SELECT turns",
    }
    everything = sorted([*toggles.values(), "INSERT turns"])
    for index, (toggle, saved) in enumerate(toggles.items()):
        async with servers.parts(**{toggle: True}) as (parts, sink):
            for _ in range(3):
                sink.clear()
                await parts.chat.reply(f"saves-{index}", request, None)
            queries = [s.name for s in sink.spans if s.name.split()[0] in {"SELECT", "INSERT"}]
        assert sorted(queries) == [name for name in everything if name != saved], toggle


async def test_the_buffer_survives_a_restart_and_is_shared(servers: ChatServers) -> None:
    """A second instance reads the turns of the first from Redis, without a query."""
    request = ChatRequest.model_validate(BODY)
    async with servers.parts(conversation_buffer_enabled=True) as (first, _):
        for _ in range(2):
            await first.chat.reply("restarts", request, None)
    async with servers.parts(conversation_buffer_enabled=True) as (second, sink):
        await second.chat.reply("restarts", request, None)

    assert [] == sink.named("SELECT turns")
    [chat] = sink.named("chat sim-chat")
    assert attributes(chat)["gen_ai.usage.input_tokens"] > 100
    await asyncio.sleep(0)


def test_init_db_and_seed_can_be_repeated(servers: ChatServers) -> None:
    """The commands change nothing the second time, and seed the names that the load asks for."""
    before = servers.rows("SELECT count(*), min(name), max(name) FROM personalities")
    servers.command("init-db")
    servers.command("seed", "--personalities", "60", "--users", "20", "--memories-per-user", "12")

    after = servers.rows("SELECT count(*), min(name), max(name) FROM personalities")
    assert before == after
    assert "p00059" == after[0][2]
    assert [(240,)] == servers.rows("SELECT count(*) FROM memories")
    assert [("u00000",)] == servers.rows("SELECT min(user_id) FROM preferences")


def test_seed_if_empty_leaves_filled_tables_as_they_are(servers: ChatServers) -> None:
    """With more personalities asked for, none is added, and the command says so."""
    before = servers.rows("SELECT count(*) FROM personalities")

    ended = servers.command("seed", "--if-empty", "--personalities", "70")

    assert before == servers.rows("SELECT count(*) FROM personalities")
    assert "filled already" in ended.stdout
