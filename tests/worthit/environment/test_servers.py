"""The embedded PostgreSQL and Redis, and what is sampled of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pyarrow.parquet as pq
import pytest
import pytest_asyncio
import redis.asyncio as redis_client
from redis.exceptions import RedisError

from worthit.counters.postgres_counters import first_postgres_counters, last_postgres_counters
from worthit.counters.sample import Sample
from worthit.counters.sampling import Sampler, redis_counters, write_counters
from worthit.environment.parts import choose_llm, choose_postgres, choose_redis
from worthit.environment.postgres import ExternalPostgres, Postgres
from worthit.environment.redis import ExternalRedis, Redis
from worthit.environment.simulator import ExternalLlm
from worthit.errors import PartError, UsageError
from worthit.process.workspace import Workspace

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


@dataclass
class Servers:
    """One of each, shared by the module's tests."""

    workspace: Workspace
    postgres: Postgres
    redis: Redis


@pytest_asyncio.fixture(name="servers", scope="module", loop_scope="module")
async def _servers() -> AsyncIterator[Servers]:
    """Start them once: a start costs a second."""
    async with (
        Workspace() as workspace,
        Postgres(workspace) as postgres,
        Redis(workspace) as redis,
    ):
        yield Servers(workspace, postgres, redis)


def value(rows: list[Sample], name: str, **labels: str) -> float:
    """The one value of a name whose labels hold these."""
    wanted = [f'"{key}": "{text}"' for key, text in labels.items()]
    found = [
        row.value for row in rows if row.name == name and all(w in row.labels for w in wanted)
    ]
    assert len(found) == 1, (name, labels, found)
    return found[0]


async def test_postgres_is_what_the_service_needs(servers: Servers) -> None:
    """PostgreSQL 18 with pgvector, UTF-8, room for 200 connections, no autovacuum."""
    url = await servers.postgres.create_database("needs")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("CREATE EXTENSION vector")
        cursor = await connection.execute(
            "SELECT '[1,2]'::vector <=> '[2,4]', pg_client_encoding()"
        )
        row = await cursor.fetchone()
        shown = await connection.execute(
            "SELECT current_setting('max_connections')::int, current_setting('autovacuum')"
        )
        settings = await shown.fetchone()

    assert servers.postgres.version.startswith("18.")
    assert row is not None
    assert row[0] == pytest.approx(0.0, abs=1e-7)
    assert row[1] == "UTF8"
    assert settings is not None
    assert settings[0] >= 200
    assert settings[1] == "off"


def listening(process: psutil.Process) -> set[str]:
    """Give the addresses that a process listens on; none of one that has just ended."""
    try:
        connections = process.net_connections()
    except psutil.NoSuchProcess:  # a backend of PostgreSQL that had done its work
        return set()
    return {
        connection.laddr.ip
        for connection in connections
        if connection.status == psutil.CONN_LISTEN
    }


async def test_only_this_machine_and_only_with_the_password_gets_in(servers: Servers) -> None:
    """Both servers listen on 127.0.0.1 alone and refuse whoever lacks the password."""
    for process in (servers.postgres.process, servers.redis.process):
        assert {"127.0.0.1"} == {
            address for child in process.tree() for address in listening(child)
        }

    host = servers.postgres.url().split("@")[1]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        await psycopg.AsyncConnection.connect(f"postgresql://worthit:wrong@{host}")
    with pytest.raises(RedisError, match=r"(?i)auth"):
        async with redis_client.from_url("redis://" + servers.redis.url.split("@")[1]) as client:
            await client.get("x")
    # the password is part of the address and of no argument list
    arguments = " ".join(psutil.Process(servers.redis.process.pid).cmdline())
    assert servers.redis.url.split(":")[2].split("@")[0] not in arguments


async def test_a_database_can_be_cloned(servers: Servers) -> None:
    """A copy of a template has its rows; the same name twice is a sentence."""
    url = await servers.postgres.create_database("filled")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("CREATE TABLE t AS SELECT 7 AS x")
    copy = await servers.postgres.create_database("copy", template="filled")

    async with await psycopg.AsyncConnection.connect(copy) as connection:
        row = await (await connection.execute("SELECT x FROM t")).fetchone()
    with pytest.raises(PartError, match="The database copy could not be created"):
        await servers.postgres.create_database("copy")

    assert row == (7,)


async def test_transactions_are_counted_exactly(servers: Servers) -> None:
    """Between the brackets, commits less sessions are the statements sent, and scans the reads."""
    postgres = servers.postgres
    url = await postgres.create_database("counted")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("CREATE TABLE t (i int PRIMARY KEY)")
    first = await first_postgres_counters(postgres.url(), ["counted"])

    async with Sampler(postgres=postgres.url(), databases=["counted"], interval_s=0.05):
        for _ in range(3):
            async with await psycopg.AsyncConnection.connect(
                url, autocommit=True, prepare_threshold=None
            ) as connection:
                for i in range(20):
                    await connection.execute("SELECT FROM t WHERE i = %s", (i,))
        await asyncio.sleep(0.2)
    last = await last_postgres_counters(postgres.url(), ["counted"])

    grown = {
        name: value(last, name, database="counted") - value(first, name, database="counted")
        for name in ("xact_commit", "sessions", "xact_rollback", "table_scans", "rows_inserted")
    }
    assert grown["xact_commit"] - grown["sessions"] == 60
    assert grown["sessions"] == 3
    assert (grown["xact_rollback"], grown["table_scans"], grown["rows_inserted"]) == (0, 60, 0)


async def test_redis_counts_what_was_asked(servers: Servers) -> None:
    """Hits, misses, keys and commands are Redis' own."""
    await servers.redis.flush()
    before = await redis_counters(servers.redis.url, arm="on")
    async with redis_client.from_url(servers.redis.url) as client:
        await client.set("a", "1")
        for key in ("a", "a", "b"):
            await client.get(key)
    after = await redis_counters(servers.redis.url, arm="on")

    grown = {
        name: value(after, name, arm="on") - value(before, name, arm="on")
        for name in ("keyspace_hits", "keyspace_misses", "keys")
    }
    assert grown == {"keyspace_hits": 2, "keyspace_misses": 1, "keys": 1}
    assert value(after, "command_calls", arm="on", command="get") == 3


async def test_samples_fill_the_counters_table(servers: Servers, tmp_path: Path) -> None:
    """Every source is there, times ascend, cumulative counts never fall."""
    await servers.postgres.create_database("sampled")
    async with Sampler(
        postgres=servers.postgres.url(),
        redis={"on": servers.redis.url},
        services={"on": lambda: [os.getpid()]},
        parts={"postgres": servers.postgres.process.pids},
        interval_s=0.05,
    ) as sampler:
        await asyncio.sleep(0.5)
    write_counters(sampler.rows, tmp_path / "counters.parquet")
    table = pq.read_table(tmp_path / "counters.parquet").to_pandas()

    assert table["t_ns"].is_monotonic_increasing
    assert set(table["source"]) == {"machine", "postgres", "redis", "service"}
    assert table["t_ns"].nunique() >= 3
    cpu = table[table["name"] == "cpu_seconds"].groupby(["source", "labels"])["value"]
    assert cpu.apply(lambda values: values.is_monotonic_increasing).all()


async def test_a_frozen_server_leaves_a_gap_and_no_error(servers: Servers) -> None:
    """While Redis is paused its samples are missing, the others go on."""
    await servers.postgres.create_database("sampled_too")
    servers.redis.pause()
    try:
        async with Sampler(
            postgres=servers.postgres.url(), redis={"on": servers.redis.url}, interval_s=0.1
        ) as sampler:
            await asyncio.sleep(0.5)
    finally:
        servers.redis.resume()

    sources = {row.source for row in sampler.rows}
    assert sources == {"machine", "postgres"}


async def test_faults_come_and_go(servers: Servers) -> None:
    """Killed or stopped, both come back on the same port; PostgreSQL with its data."""
    url = await servers.postgres.create_database("kept")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("CREATE TABLE t AS SELECT 1 AS x")
    addresses = (servers.postgres.url(), servers.redis.url)

    servers.postgres.kill()
    servers.redis.kill()
    with pytest.raises(psycopg.OperationalError):
        await psycopg.AsyncConnection.connect(url)
    await servers.postgres.start()
    await servers.redis.start()

    async with await psycopg.AsyncConnection.connect(url) as connection:
        row = await (await connection.execute("SELECT x FROM t")).fetchone()
    assert row == (1,)
    assert (servers.postgres.url(), servers.redis.url) == addresses


async def test_the_users_own_servers_are_used(servers: Servers) -> None:
    """DATABASE_URL and REDIS_URL name servers that are used as they are and left running."""
    environ = {"DATABASE_URL": servers.postgres.url(), "REDIS_URL": servers.redis.url}
    async with (
        choose_postgres(servers.workspace, environ) as postgres,
        choose_redis(servers.workspace, environ) as redis,
    ):
        assert isinstance(postgres, ExternalPostgres)
        assert isinstance(redis, ExternalRedis)
        assert postgres.version == servers.postgres.version
        assert redis.version == servers.redis.version
        assert await postgres.create_database("theirs") == servers.postgres.url("theirs")

    assert servers.postgres.process.alive
    assert servers.redis.process.alive


@pytest.mark.parametrize("variable", ["DATABASE_URL", "REDIS_URL", "LLM_BASE_URL"])
async def test_an_own_server_out_of_reach_is_a_sentence(servers: Servers, variable: str) -> None:
    """The variable is named, and what to do."""
    port = servers.workspace.free_port()
    external = {
        "DATABASE_URL": ExternalPostgres(f"postgresql://u:p@127.0.0.1:{port}/d"),
        "REDIS_URL": ExternalRedis(f"redis://:p@127.0.0.1:{port}/0"),
        "LLM_BASE_URL": ExternalLlm(f"http://127.0.0.1:{port}/v1"),
    }[variable]

    with pytest.raises(PartError, match=variable) as raised:
        async with external:
            pass

    assert "could not be reached" in str(raised.value)
    assert "or unset it" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "external",
    [ExternalPostgres("nonsense"), ExternalRedis("nonsense"), ExternalLlm("nonsense")],
    ids=["DATABASE_URL", "REDIS_URL", "LLM_BASE_URL"],
)
async def test_an_address_that_is_none_is_wrong_usage(
    external: ExternalPostgres | ExternalRedis | ExternalLlm,
) -> None:
    """A variable that holds no address says how one is written."""
    with pytest.raises(UsageError, match=r"is no .*address .*; write it as \w+://") as raised:
        async with external:
            pass

    assert "\n" not in str(raised.value)


async def test_without_variables_everything_is_embedded(servers: Servers) -> None:
    """An empty environment, or empty variables, choose the embedded parts."""
    for environ in ({}, {"DATABASE_URL": "", "REDIS_URL": "", "LLM_BASE_URL": ""}):
        assert choose_postgres(servers.workspace, environ).embedded
        assert choose_redis(servers.workspace, environ).embedded
        assert choose_llm(servers.workspace, environ, seed=1, profile="native").embedded
