"""PostgreSQL full, failing, or not set up: what is answered, what is recorded, who is ready."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import psycopg
import pytest

from reference_service.composition import Service as Parts
from reference_service.errors import DatabaseUnavailableError, ServiceError
from reference_service.lifecycle import Lifecycle, Startup
from reference_service.models import ChatRequest
from tests.support.servers.chat_servers import ROOT, ChatServers
from tests.support.traces.span_sink import SpanSink, attributes
from worthit.environment.server import answers, child_environment

pytestmark = pytest.mark.integration

SYSTEM = {"db.system.name": "postgresql"}


async def _run(parts: Parts, text: str, *parameters: object) -> None:
    await parts.database.fetch(parts.database.statement("SELECT", "", text), parameters)


def _failures(sink: SpanSink) -> list[dict[str, Any]]:
    found = [dict(point.attributes or {}) for point in sink.points("db.client.operation.duration")]
    return [labels for labels in found if "error.type" in labels]


@pytest.mark.parametrize(
    ("text", "parameter", "error", "state"),
    [
        ("SELECT 1 / %s::int", 0, psycopg.errors.DivisionByZero, "22012"),
        ("SELECT pg_sleep(%s::float)", 1, DatabaseUnavailableError, "57014"),
        ("SELECT %s::int FROM nowhere", 1, DatabaseUnavailableError, "42P01"),
    ],
    ids=["wrong", "too slow", "no table"],
)
async def test_a_failed_statement_is_told_by_its_sqlstate(
    servers: ChatServers, text: str, parameter: int, error: type[Exception], state: str
) -> None:
    """Span and metric carry PostgreSQL's own code, and which server and database it was."""
    async with servers.parts(db_statement_timeout_ms=100) as (parts, sink):
        with pytest.raises(error):
            await _run(parts, text, parameter)
        [labels] = _failures(sink)

    [span] = sink.spans
    expected = {"error.type": state, "db.response.status_code": state}
    place = {"server.address": "127.0.0.1", "db.namespace": "postgres", **SYSTEM}
    found = attributes(span)
    assert {**expected, **place}.items() <= found.items()
    assert {**expected, **place}.items() <= labels.items()
    port = int(servers.postgres.url().rpartition(":")[2].partition("/")[0])
    assert port == found["server.port"] == labels["server.port"]


async def test_a_wait_for_a_connection_that_ends_is_told_by_its_name(servers: ChatServers) -> None:
    """Where PostgreSQL gave no code, the error's class is the type and there is no code."""
    async with servers.parts(db_pool_min=1, db_pool_max=1, db_pool_timeout_seconds=0.1) as (
        parts,
        sink,
    ):
        async with parts.database.pool.connection():
            with pytest.raises(DatabaseUnavailableError):
                await _run(parts, "SELECT 1")
        [labels] = _failures(sink)

    [span] = sink.spans
    assert "PoolTimeout" == attributes(span)["error.type"] == labels["error.type"]
    assert "db.response.status_code" not in attributes(span).keys() | labels.keys()


async def test_a_full_pool_is_ready_while_postgresql_answers(servers: ChatServers) -> None:
    """With every connection busy the statements are the sign of life, as long as one was heard."""
    one = {"db_pool_min": 1, "db_pool_max": 1, "db_statement_timeout_ms": 300}
    async with servers.parts(**one) as (parts, _):
        await _run(parts, "SELECT 1")
        async with parts.database.pool.connection():
            await parts.database.ping(0.05)
            await asyncio.sleep(0.8)  # longer than a statement may take: nobody has been heard
            with pytest.raises(DatabaseUnavailableError):
                await parts.database.ping(0.05)
        await parts.database.ping(0.5)


@pytest.fixture(name="empty")
def _empty(servers: ChatServers) -> Iterator[str]:
    """Give a database without tables."""
    url = servers.call(servers.postgres.create_database("without_tables"))
    yield url
    servers.call(servers.postgres.drop_database("without_tables"))


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    """Undo what a starting service asks of the garbage collector."""
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_a_database_without_tables_is_not_ready(servers: ChatServers, empty: str) -> None:
    """Readiness waits for `init-db`, chats get a 503 that says so in the log; then all is well."""
    port = servers.workspace.free_port()
    url = f"http://127.0.0.1:{port}"
    env = servers.environment(DATABASE_URL=empty)
    process = servers.call(
        servers.workspace.start(
            "without-tables",
            [sys.executable, "-m", "reference_service", "--port", str(port)],
            env=child_environment(env),
            ready=answers(f"{url}/healthz"),
            timeout_seconds=30,
        )
    )
    try:
        before = httpx.get(f"{url}/readyz")
        body = {"message": "Hi", "personality_name": "elara"}
        chat = httpx.post(f"{url}/chat", json=body, headers={"X-User-Id": "early"})
        subprocess.run(
            [sys.executable, "-m", "reference_service", "init-db"],
            env={**os.environ, **env},
            cwd=ROOT,
            check=True,
        )
        statuses = _until_ready(url)
    finally:
        servers.call(process.stop())

    assert (503, "running") == (before.status_code, before.json()["startup"])
    assert (503, "database_not_prepared") == (chat.status_code, chat.json()["error"])
    assert "retry-after" in chat.headers
    assert 200 == statuses[-1]
    log = (servers.workspace.logs / "without-tables.log").read_text(encoding="utf-8")
    said = [json.loads(line)["message"] for line in log.splitlines()]
    waits = [line for line in said if line.startswith("Start-up waits")]
    assert ["init-db" in line for line in waits] == [True]


def _until_ready(url: str) -> list[int]:
    statuses = []
    for _ in range(100):
        statuses.append(httpx.get(f"{url}/readyz").status_code)
        if statuses[-1] == 200:
            break
        time.sleep(0.05)
    return statuses


class _Faulty:
    """Personalities whose pre-warming has a fault."""

    async def prewarm(self, count: int) -> int:
        """Fail as no server does."""
        raise LookupError(str(count))

    async def close(self) -> None:
        """Nothing runs."""


async def test_a_start_up_that_failed_is_not_over(
    servers: ChatServers, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault in pre-warming is logged, and the service says that it is not ready."""
    async with servers.parts(personality_prewarm=5) as (parts, _):
        life = Lifecycle(replace(parts, personalities=_Faulty()))  # type: ignore[arg-type]  # faulty on purpose
        await life.start()
        for _ in range(100):
            if life.startup is not Startup.RUNNING:
                break
            await asyncio.sleep(0.02)
        await life.stop()

    assert life.startup is Startup.FAILED
    assert ["Start-up failed; the service is not ready"] == [
        record.message for record in caplog.records if record.levelname == "CRITICAL"
    ]


async def test_a_replica_that_takes_no_writes_is_unavailable(servers: ChatServers) -> None:
    """After a failover to a read-only server a chat gets 503, not 500, and nothing is lost."""
    url = f"{servers.postgres.url()}?options=-c%20default_transaction_read_only%3Don"
    request = ChatRequest(message="Hi", personality_name="elara")
    async with servers.parts(database_url=url) as (parts, _):
        with pytest.raises(ServiceError) as failed:
            await parts.chat.reply("read-only", request, None)

    assert (503, "database_unavailable") == (failed.value.status, failed.value.code)
