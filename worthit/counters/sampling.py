"""What did the servers and the machine count while the run went on? Rows for counters.parquet."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import psutil
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from redis.exceptions import RedisError

from worthit.contract.tables import COUNTERS
from worthit.counters.backends import BACKENDS, BackendMeter
from worthit.counters.mongo_counters import MongoError
from worthit.counters.mysql_counters import MysqlError
from worthit.counters.postgres_connection import connect
from worthit.counters.postgres_counters import database_counters
from worthit.counters.sample import Sample, sample
from worthit.counters.statements import StatementReadings
from worthit.environment.redis import ask

SAMPLE_SECONDS = 1.0
"""How long a server may take over a sample; one that takes longer leaves a gap."""

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

    The value of `reading` is the seconds that INFO took. A label without a value, as of a Redis
    that is no arm's own, is left out.
    """
    labels = {name: label for name, label in labels.items() if label}
    async with ask(url, timeout_seconds) as client:
        t_ns = now_ns()
        info = await client.info("everything")
        took_s = (now_ns() - t_ns) / 1e9
    found = [
        sample(t_ns, "redis", "reading", took_s, **labels),
    ] + [
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


class Readable(Protocol):
    """Something that can be sampled without waiting."""

    def read(self, t_ns: int, /) -> list[Sample]:
        """Give its counts of this moment; nothing once it is gone."""
        ...


@dataclass(slots=True, kw_only=True)
class Sampler:
    """Samples every `interval_s` until stopped; `async with Sampler(...)`, then `.rows`.

    `redis` maps an arm (or "" where none has one of its own) to an address, `services` an arm to a
    function giving its process ids, `parts` a part's name likewise; `watched` are services that
    somebody else runs. A server that does not answer leaves a gap, never a zero. The last sample
    is taken at the end, so that nothing is lost of the last interval.
    """

    postgres: str | None = None
    databases: Sequence[str] | None = None
    statements: StatementReadings | None = None
    """Where pg_stat_statements works in somebody else's database."""
    redis: Mapping[str, str] = field(default_factory=dict)
    others: Sequence[Callable[[float], Awaitable[list[Sample]]]] = ()
    """Further servers, each asked with a patience in seconds."""
    services: Mapping[str, Callable[[], Sequence[int]]] = field(default_factory=dict)
    parts: Mapping[str, Callable[[], Sequence[int]]] = field(default_factory=dict)
    watched: Sequence[Readable] = ()
    machine: bool = True
    """Whether the machine itself is sampled too."""
    interval_s: float = 1.0
    rows: list[Sample] = field(default_factory=list)
    _meter: ProcessMeter = field(default_factory=ProcessMeter)
    _backends: BackendMeter = field(default_factory=BackendMeter)
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    async def once(self) -> None:
        """Take one sample of everything."""
        t_ns = time.time_ns()
        if self.machine:
            self.rows += machine_counters(t_ns)
        for service in self.watched:
            self.rows += service.read(t_ns)
        for arm, pids in self.services.items():
            self.rows += self._meter.read(pids(), t_ns, "service", arm=arm)
        for part, pids in self.parts.items():
            self.rows += self._meter.read_whole(pids(), t_ns, part)
        await asyncio.gather(
            self._sample_postgres(),
            self._sample_statements(),
            *map(self._sample_redis, self.redis),
            *map(self._sample_other, self.others),
        )

    async def _sample_postgres(self) -> None:
        if self.postgres is not None:
            try:
                async with (
                    asyncio.timeout(SAMPLE_SECONDS),
                    await connect(self.postgres, "postgres") as connection,
                ):
                    self.rows += await database_counters(connection, self.databases, time.time_ns)
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

    async def _sample_statements(self) -> None:
        if self.statements is not None:
            try:
                async with asyncio.timeout(SAMPLE_SECONDS):
                    self.rows += await self.statements.read()
            except (psycopg.Error, TimeoutError):
                await self.statements.close()

    async def _sample_redis(self, arm: str) -> None:
        # Ended by the client's own timeout: cancelled from outside it would leak its socket.
        try:
            self.rows += await redis_counters(
                self.redis[arm], timeout_seconds=SAMPLE_SECONDS, arm=arm
            )
        except (RedisError, OSError, TimeoutError):
            return

    async def _sample_other(self, read: Callable[[float], Awaitable[list[Sample]]]) -> None:
        try:
            self.rows += await read(SAMPLE_SECONDS)
        except (MysqlError, MongoError):
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
            await self.once()
        if self.statements is not None:
            await self.statements.close()


def write_counters(rows: Sequence[Sample], path: Path) -> None:
    """Write counters.parquet, in order of time."""
    ordered = sorted(rows, key=lambda row: row.t_ns)
    columns: dict[str, list[Any]] = {
        name: [getattr(row, name) for row in ordered] for name in COUNTERS.names
    }
    pq.write_table(pa.table(columns, schema=COUNTERS), path)
