"""`worthit record` beside somebody else's PostgreSQL and Redis, which count for themselves."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from worthit.__main__ import main
from worthit.counters.external_counters import ExternalCounters, Named, database_of, find
from worthit.counters.postgres_counters import table_counters
from worthit.environment.postgres import Postgres
from worthit.environment.redis import Redis
from worthit.environment.server import child_environment
from worthit.process.workspace import Workspace

pytestmark = pytest.mark.integration

SERVICE = """
import os, psycopg, redis
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
PsycopgInstrumentor().instrument(tracer_provider=provider)
RedisInstrumentor().instrument(tracer_provider=provider)
cache = redis.Redis.from_url(os.environ["THEIR_REDIS"])
with psycopg.connect(os.environ["THEIR_DATABASE"], autocommit=True) as database:
    database.prepare_threshold = None
    database.execute("CREATE TABLE carts AS SELECT 7 AS id")
    for number in range(40):
        with provider.get_tracer("x").start_as_current_span("GET /cart", kind=SpanKind.SERVER):
            if cache.get(f"cart:{number % 10}") is None:
                database.execute("SELECT id FROM carts").fetchall()
                cache.set(f"cart:{number % 10}", "7")
provider.shutdown()
"""
"""A service of somebody's: 40 requests, 10 of them misses; nothing of ours in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a command ended with."""

    code: int
    stdout: str
    stderr: str


async def record(*arguments: str, **environ: str) -> Said:
    """Run `worthit record` in a process of its own; a loop runs here."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worthit", "record", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=child_environment(environ),
    )
    stdout, stderr = await process.communicate()
    return Said(code=process.returncode or 0, stdout=stdout.decode(), stderr=stderr.decode())


async def test_their_servers_counts_stand_beside_the_spans(tmp_path: Path) -> None:
    """Named by options, both servers are asked; what they counted is what the spans say."""
    async with (
        Workspace() as workspace,
        Postgres(workspace) as postgres,
        Redis(workspace) as redis,
    ):
        database = await postgres.create_database("shop")
        said = await record(
            *("--json", "--out", str(tmp_path)),
            *("--database-url", database.replace("postgresql:", "postgresql+psycopg:")),
            *(
                "--redis-url",
                redis.url.replace("redis:", "valkey:"),
                "--",
                sys.executable,
                "-c",
                SERVICE,
            ),
            THEIR_DATABASE=database,
            THEIR_REDIS=redis.url,
        )

    assert said.code == 0, said.stderr
    assert "own counts will be read from PostgreSQL and Redis" in said.stderr
    run = Path(json.loads(said.stdout)["run"])
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    rows = {
        row["what"]: (row["from_spans"], row["independent"]) for row in manifest["cross_checks"]
    }
    assert rows == {
        "database calls": (11, 11),  # the table's making and ten misses
        "cache calls: GET": (40, 40),
        "cache calls: SET": (10, 10),
    }
    assert {"embedded": False} == manifest["parts"]["postgres"] == manifest["parts"]["redis"]


@pytest.mark.parametrize(
    ("option", "url", "code", "sentence"),
    [
        (
            "--database-url",
            "oracle://a:b@c/d",
            2,
            "--database-url is an address of oracle, and only",
        ),
        (
            "--database-url",
            "postgresql://127.0.0.1:1/d",
            1,
            "PostgreSQL that could not be reached",
        ),
        ("--redis-url", "redis://127.0.0.1:1/0", 1, "--redis-url names a Redis at 127.0.0.1 that"),
    ],
)
def test_an_option_that_names_no_server_is_a_sentence(
    *,
    option: str,
    url: str,
    code: int,
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its name, what is wrong, the way out; nothing is recorded and nothing is left."""
    arguments = ["record", "--out", str(tmp_path), option, url, "--", "true"]

    assert main(arguments) == code
    said = capsys.readouterr().err
    assert sentence in said
    assert "or leave it out to record without its counts." in said
    assert [] == list(tmp_path.iterdir())


async def test_a_variable_meant_for_the_service_alone_stops_nothing() -> None:
    """DATABASE_URL in the shell may name what is not up yet, or another kind: a note."""
    database = Named(url="oracle://a:b@c/d", by="DATABASE_URL", asked_for=False)
    cache = Named(url="redis://127.0.0.1:1/0", by="REDIS_URL", asked_for=False)

    external, notes = await find(database, cache)

    assert (external.postgres, external.redis) == (None, None)
    assert ["DATABASE_URL", "REDIS_URL"] == [note.split()[0] for note in notes]
    assert all(note.endswith("; recording without its counts") for note in notes)


async def test_a_cross_check_that_goes_away_costs_its_own_counts_alone() -> None:
    """Redis is gone at the end: its rows are left out and it is said; PostgreSQL's stay."""
    async with (
        Workspace() as workspace,
        Postgres(workspace) as postgres,
        Redis(workspace) as redis,
    ):
        external = ExternalCounters(
            postgres=await postgres.create_database("shop"), redis=redis.url
        )
        first = await external.first_counts()
        await redis.stop()
        last = await external.last_counts(first)

        kept = external.kept([*first, *last])

    assert {"postgres", "redis"} == {row.source for row in first}
    assert {"postgres"} == {row.source for row in kept}
    assert [row for row in last if row.name == "xact_commit"]
    (note,) = external.notes
    assert note.startswith("Redis could not be asked for its counts (")


NOT_PRELOADED = """
CREATE TABLE carts AS SELECT 7 AS id;
SET allow_system_table_mods = on;
INSERT INTO pg_extension VALUES (99999, 'pg_stat_statements', 10, 2200, false, '1.11', NULL, NULL);
CREATE FUNCTION calls() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
    RAISE 'pg_stat_statements must be loaded via "shared_preload_libraries"'
    USING ERRCODE = 'object_not_in_prerequisite_state';
END $$;
CREATE VIEW pg_stat_statements AS
SELECT oid AS dbid, 'SELECT 1' AS query, 1::bigint AS queryid, calls() AS calls FROM pg_database;
"""
"""The embedded server has no pg_stat_statements: what one that was not preloaded answers."""


async def test_statements_that_are_not_counted_are_left_out() -> None:
    """pg_stat_statements was created and never preloaded: the tables' counts come all the same."""
    async with Workspace() as workspace, Postgres(workspace) as postgres:
        url = await postgres.create_database("shop")
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(NOT_PRELOADED)

        rows = await table_counters(url, ["shop"])

    assert {"table_scans", "rows_inserted", "rows_updated", "rows_deleted"} == {
        row.name for row in rows
    }


@pytest.mark.parametrize(
    ("url", "database"),
    [
        ("postgresql://u:p@h:5/shop?sslmode=require", "shop"),
        ("postgresql://u:p@h/my%20shop", "my shop"),
        ("postgresql://u:p@h", "u"),
    ],
)
def test_the_database_of_an_address(url: str, database: str) -> None:
    """As libpq reads it: the path, or the user's name where there is none."""
    assert database_of(url) == database
