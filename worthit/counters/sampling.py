"""What did the servers and the machine count while the run went on? Rows for counters.parquet.

PostgreSQL's count of transactions is held against the spans, so sampling must not add to it: the
samples come from a connection to another database (`postgres`), and a table's own statistics,
which can only be read from inside its database, are read before the first and after the last look
at the transactions. A connection's start is itself a transaction; `sessions` counts them, so that
`xact_commit - sessions` is the number of transactions that clients asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg import AsyncConnection, errors
from psycopg.rows import TupleRow
from redis.exceptions import RedisError

from worthit.contract.tables import COUNTERS
from worthit.counters.backends import BACKENDS, BackendMeter
from worthit.environment.redis import ask

SAMPLE_SECONDS = 1.0
"""How long a server may take over a sample; one that takes longer leaves a gap."""

IDLE_SECONDS = 5.0
"""How long to wait until a database's connections have gone and their statistics have arrived."""

DATABASES = """
SELECT datname, xact_commit, xact_rollback, sessions, numbackends, blks_hit, blks_read,
  tup_returned, temp_bytes
FROM pg_stat_database
WHERE datname IS NOT NULL AND datname NOT IN ('postgres', 'template0', 'template1')
"""

TABLES = """
SELECT relname, coalesce(seq_scan, 0) + coalesce(idx_scan, 0), n_tup_ins, n_tup_upd, n_tup_del
FROM pg_stat_user_tables
"""

STATEMENTS = """
SELECT query, sum(calls) FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) GROUP BY query
"""


UNREADABLE = (
    errors.ObjectNotInPrerequisiteState,
    errors.UndefinedTable,
    errors.InsufficientPrivilege,
)
"""pg_stat_statements was created without being preloaded, in another schema, or not for us."""

OUR_NAME = "worthit sampling"
"""By which our connections can be told from others in pg_stat_activity."""

CONNECTED = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = ANY(%s) AND application_name LIKE %s
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of counters.parquet."""

    t_ns: int
    source: str
    name: str
    labels: str
    value: float


def sample(t_ns: int, source: str, name: str, value: float, /, **labels: object) -> Sample:
    """A row; the labels, which may have any name, become a JSON object with sorted keys."""
    return Sample(t_ns, source, name, json.dumps(labels, sort_keys=True), float(value))


async def postgres_counters(
    url: str, *, databases: Sequence[str] | None = None, now_ns: Callable[[], int] = time.time_ns
) -> list[Sample]:
    """Transactions, sessions, connections, blocks, rows of each database (or `databases`).

    Reads through the database `postgres`, so that no other database's count moves.
    """
    async with await _connect(url, "postgres") as connection:
        return await _database_counters(connection, databases, now_ns)


async def _database_counters(
    connection: AsyncConnection[TupleRow],
    databases: Sequence[str] | None,
    now_ns: Callable[[], int],
) -> list[Sample]:
    rows = await (await connection.execute(DATABASES)).fetchall()
    t_ns = now_ns()
    names = (
        *("xact_commit", "xact_rollback", "sessions", "connections"),
        *("blocks_hit", "blocks_read", "rows_scanned", "temp_bytes"),
    )
    return [
        sample(t_ns, "postgres", name, value, database=database)
        for database, *values in rows
        if databases is None or database in databases
        for name, value in zip(names, values, strict=True)
    ]


async def table_counters(
    url: str, databases: Sequence[str], *, now_ns: Callable[[], int] = time.time_ns
) -> list[Sample]:
    """`table_scans` and `rows_*` by table, and `statement_calls` where pg_stat_statements works.

    Connects to each database, which adds to its `xact_commit` and `sessions`: use only before the
    first or after the last `postgres_counters` of a run, and see `settled`.
    """
    names = ("table_scans", "rows_inserted", "rows_updated", "rows_deleted")
    found = []
    for database in databases:
        async with await _connect(url, database) as connection:
            rows = await (await connection.execute(TABLES)).fetchall()
            t_ns = now_ns()
            for table, *values in rows:
                found += [
                    sample(t_ns, "postgres", name, value, database=database, table=table)
                    for name, value in zip(names, values, strict=True)
                ]
            found += await _statement_counters(connection, database, t_ns)
    return found


async def _statement_counters(
    connection: AsyncConnection[TupleRow], database: str, t_ns: int
) -> list[Sample]:
    installed = await connection.execute(
        "SELECT 1 FROM pg_extension WHERE extname = 'pg_stat_statements'"
    )
    if await installed.fetchone() is None:
        return []
    try:
        rows = await (await connection.execute(STATEMENTS)).fetchall()
    except UNREADABLE:
        return []
    return [
        sample(t_ns, "postgres", "statement_calls", calls, database=database, query=query)
        for query, calls in rows
    ]


async def settled(
    url: str,
    databases: Sequence[str],
    *,
    ours_only: bool = False,
    patience_s: float = IDLE_SECONDS,
) -> bool:
    """Wait until nobody is connected to `databases`: only then have all counts arrived.

    A backend hands in its statistics at the latest when it ends. `ours_only` waits for this
    module's own connections alone. False when some stay connected.
    """
    deadline = time.monotonic() + patience_s
    async with await _connect(url, "postgres") as connection:
        while True:
            cursor = await connection.execute(
                CONNECTED, (list(databases), OUR_NAME if ours_only else "%")
            )
            row = await cursor.fetchone()
            if row is not None and row[0] == 0:
                return True
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)


async def first_postgres_counters(url: str, databases: Sequence[str]) -> list[Sample]:
    """The opening bracket of a run: tables first, then transactions, which then stand still."""
    tables = await table_counters(url, databases)
    await settled(url, databases)
    return tables + await postgres_counters(url, databases=databases)


async def last_postgres_counters(url: str, databases: Sequence[str]) -> list[Sample]:
    """The closing bracket, once the service has stopped: transactions first, then the tables."""
    await settled(url, databases)
    transactions = await postgres_counters(url, databases=databases)
    return transactions + await table_counters(url, databases)


async def _connect(url: str, database: str) -> AsyncConnection[TupleRow]:
    address = urlunsplit(urlsplit(url)._replace(path=f"/{database}"))
    return await AsyncConnection.connect(
        address, autocommit=True, connect_timeout=5, application_name=OUR_NAME
    )


REDIS_COUNTS = {
    "keyspace_hits": "keyspace_hits",
    "keyspace_misses": "keyspace_misses",
    "expired_keys": "expired_keys",
    "evicted_keys": "evicted_keys",
    "used_memory": "used_memory_bytes",
    "total_net_input_bytes": "received_bytes",
    "total_net_output_bytes": "sent_bytes",
}
"""INFO's names and ours."""


async def redis_counters(
    url: str,
    *,
    timeout_seconds: float = 5.0,
    now_ns: Callable[[], int] = time.time_ns,
    **labels: object,
) -> list[Sample]:
    """INFO's counts, the number of keys, and `command_calls` by command (INFO is one too).

    A label without a value, as of a Redis that is no arm's own, is left out.
    """
    labels = {name: label for name, label in labels.items() if label}
    async with ask(url, timeout_seconds) as client:
        info = await client.info("everything")
    t_ns = now_ns()
    found = [
        sample(t_ns, "redis", ours, info[theirs], **labels)
        for theirs, ours in REDIS_COUNTS.items()
    ]
    seconds = info["used_cpu_user"] + info["used_cpu_sys"]
    found.append(sample(t_ns, "redis", "cpu_seconds", seconds, **labels))
    keys = sum(
        space["keys"]
        for name, space in info.items()
        if name.startswith("db") and name[2:].isdigit()
    )
    found.append(sample(t_ns, "redis", "keys", keys, **labels))
    return found + [
        sample(
            t_ns,
            "redis",
            "command_calls",
            stat["calls"],
            **labels,
            command=name.removeprefix("cmdstat_"),
        )
        for name, stat in info.items()
        if name.startswith("cmdstat_")
    ]


def recorder_counters(stats: Mapping[str, int], t_ns: int) -> list[Sample]:
    """`bytes`, `batches` and `spans_refused` (in batches) out of the recorder's own counts."""
    names = {"bytes": "bytes", "batches": "batches", "refused": "spans_refused"}
    return [
        sample(t_ns, "recorder", ours, stats[theirs])
        for theirs, ours in names.items()
        if theirs in stats
    ]


class ProcessMeter:
    """CPU seconds and memory of groups of processes, sampled again and again."""

    def __init__(self) -> None:
        self._known: dict[int, psutil.Process] = {}

    def read(self, pids: Sequence[int], t_ns: int, source: str, **labels: object) -> list[Sample]:
        """`cpu_seconds` (without its children's) and `rss_bytes` of each process that lives."""
        found = []
        for pid in pids:
            try:
                process = self._known.setdefault(pid, psutil.Process(pid))
                with process.oneshot():
                    times, memory = process.cpu_times(), process.memory_info()
            except psutil.Error:
                self._known.pop(pid, None)
                continue
            found.append(
                sample(t_ns, source, "cpu_seconds", times.user + times.system, **labels, pid=pid)
            )
            found.append(sample(t_ns, source, "rss_bytes", memory.rss, **labels, pid=pid))
        return found

    def read_whole(self, pids: Sequence[int], t_ns: int, part: str) -> list[Sample]:
        """`cpu_seconds` of a whole part: its processes and those below them that have ended."""
        seconds, found = 0.0, False
        for pid in pids:
            try:
                times = self._known.setdefault(pid, psutil.Process(pid)).cpu_times()
            except psutil.Error:
                self._known.pop(pid, None)
                continue
            found = True
            seconds += times.user + times.system + times.children_user + times.children_system
        return [sample(t_ns, "machine", "cpu_seconds", seconds, part=part)] if found else []


def machine_counters(t_ns: int) -> list[Sample]:
    """The machine's CPU use since the last call, in percent, and its available memory."""
    return [
        sample(t_ns, "machine", "cpu_percent", psutil.cpu_percent(interval=None)),
        sample(t_ns, "machine", "memory_available_bytes", psutil.virtual_memory().available),
    ]


@dataclass(slots=True, kw_only=True)
class Sampler:
    """Samples every `interval_s` until stopped; `async with Sampler(...)`, then `.rows`.

    `redis` maps an arm (or "" where none has one of its own) to an address, `services` an arm to a
    function giving its process ids, `parts` a part's name likewise. A server that does not answer
    leaves a gap, never a zero.
    """

    postgres: str | None = None
    databases: Sequence[str] | None = None
    redis: Mapping[str, str] = field(default_factory=dict)
    services: Mapping[str, Callable[[], Sequence[int]]] = field(default_factory=dict)
    parts: Mapping[str, Callable[[], Sequence[int]]] = field(default_factory=dict)
    interval_s: float = 1.0
    rows: list[Sample] = field(default_factory=list)
    _meter: ProcessMeter = field(default_factory=ProcessMeter)
    _backends: BackendMeter = field(default_factory=BackendMeter)
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    async def once(self) -> None:
        """Take one sample of everything."""
        t_ns = time.time_ns()
        self.rows += machine_counters(t_ns)
        for arm, pids in self.services.items():
            self.rows += self._meter.read(pids(), t_ns, "service", arm=arm)
        for part, pids in self.parts.items():
            self.rows += self._meter.read_whole(pids(), t_ns, part)
        await asyncio.gather(self._sample_postgres(), *map(self._sample_redis, self.redis))

    async def _sample_postgres(self) -> None:
        if self.postgres is not None:
            try:
                async with (
                    asyncio.timeout(SAMPLE_SECONDS),
                    await _connect(self.postgres, "postgres") as connection,
                ):
                    self.rows += await _database_counters(connection, self.databases, time.time_ns)
                    self.rows += await self._backend_counters(connection)
            except (psycopg.Error, TimeoutError):
                return

    async def _backend_counters(self, connection: AsyncConnection[TupleRow]) -> list[Sample]:
        """`cpu_seconds` of each database's backends, where their processes can be seen."""
        found = await (await connection.execute(BACKENDS)).fetchall()
        seconds = self._backends.read((int(pid), str(database)) for pid, database in found)
        t_ns = time.time_ns()
        return [
            sample(t_ns, "postgres", "cpu_seconds", value, database=database)
            for database, value in seconds.items()
            if self.databases is None or database in self.databases
        ]

    async def _sample_redis(self, arm: str) -> None:
        # Ended by the client's own timeout: cancelled from outside it would leak its socket.
        try:
            self.rows += await redis_counters(
                self.redis[arm], timeout_seconds=SAMPLE_SECONDS, arm=arm
            )
        except (RedisError, OSError, TimeoutError):
            return

    async def _run(self) -> None:
        while not self._over.is_set():
            started = time.monotonic()
            await self.once()
            rest = self.interval_s - (time.monotonic() - started)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), max(0.0, rest))

    async def __aenter__(self) -> Self:
        self._over.clear()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Let the sample under way end. A sampler that failed must not pass for a quiet one."""
        task, self._task = self._task, None
        if task is not None:
            self._over.set()
            await task


def write_counters(rows: Sequence[Sample], path: Path) -> None:
    """Write counters.parquet, in order of time."""
    ordered = sorted(rows, key=lambda row: row.t_ns)
    columns: dict[str, list[Any]] = {
        name: [getattr(row, name) for row in ordered] for name in COUNTERS.names
    }
    pq.write_table(pa.table(columns, schema=COUNTERS), path)
