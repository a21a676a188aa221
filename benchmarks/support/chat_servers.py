"""The servers, the service under test and a small HTTP client for the service's benchmarks."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter

import psutil

from worthit.environment.postgres import Postgres
from worthit.environment.recorder import Recorder
from worthit.environment.redis import Redis
from worthit.environment.server import answers, child_environment
from worthit.environment.simulator import Simulator
from worthit.process.workspace import Workspace

PERSONALITIES, USERS, MEMORIES_PER_USER = 50, 200, 20
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """What both services are run against."""

    workspace: Workspace
    postgres: Postgres
    redis: Redis
    llm: Simulator
    recorder: Recorder

    def environment(self) -> dict[str, str]:
        """Return the settings that name these servers; the personality cache is on."""
        return {
            "DATABASE_URL": self.postgres.url(),
            "REDIS_URL": self.redis.url,
            "REDIS_ENABLED": "true",
            "LLM_BASE_URL": self.llm.base_url,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a measured stretch of load cost."""

    requests: int
    seconds: float
    cpu_ms: float
    """CPU of the service's processes per request, milliseconds."""
    failures: int


@asynccontextmanager
async def servers() -> AsyncIterator[Servers]:
    """Start PostgreSQL with the schema and the rows, Redis, the simulator and the recorder."""
    async with (
        Workspace() as workspace,
        Postgres(workspace) as postgres,
        Redis(workspace) as redis,
        Simulator(workspace, profile="native") as llm,
        Recorder(workspace) as recorder,
    ):
        found = Servers(
            workspace=workspace, postgres=postgres, redis=redis, llm=llm, recorder=recorder
        )
        filling = ["--personalities", str(PERSONALITIES), "--users", str(USERS)]
        filling += ["--memories-per-user", str(MEMORIES_PER_USER)]
        for arguments in (["init-db"], ["seed", *filling]):
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "reference_service", *arguments),
                env={**os.environ, **found.environment()},
            )
            if await child.wait() != 0:
                raise SystemExit(f"{arguments[0]} failed")
        yield found


@asynccontextmanager
async def service(
    running: Servers, name: str, command: list[str], env: Mapping[str, str]
) -> AsyncIterator[tuple[str, psutil.Process]]:
    """Start a service and give its address and process."""
    port = running.workspace.free_port()
    process = await running.workspace.start(
        name,
        [*command, "--port", str(port)],
        env=child_environment({**running.environment(), **env}),
        ready=answers(f"http://127.0.0.1:{port}/readyz"),
        timeout_seconds=60,
    )
    try:
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        await process.stop()


async def drive_at(
    url: str, process: psutil.Process, *, arrivals_s: Sequence[float], connections: int
) -> Measured:
    """Send a request at each of these times, however many are under way; return their cost.

    How many are in flight follows from how long each takes. Arrivals alike wake the service
    alike: with so many always in flight instead, few come in bunches and many do not, and a
    service that is woken for each by itself pays up to a third more for that alone.
    """
    port = int(url.rpartition(":")[2])
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(connections)]
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    for connection in opened:
        idle.put_nowait(connection)
    failures = 0

    async def one_request(index: int, at: float) -> None:
        nonlocal failures
        await asyncio.sleep(max(0.0, at - perf_counter()))
        reader, writer = connection = await idle.get()
        writer.write(_request(index))
        if not await _answered(reader):
            failures += 1
        idle.put_nowait(connection)

    cpu, began = _cpu_seconds(process), perf_counter()
    await asyncio.gather(*(one_request(i, began + at) for i, at in enumerate(arrivals_s)))
    seconds = perf_counter() - began
    cpu_ms = (_cpu_seconds(process) - cpu) / len(arrivals_s) * 1000
    for _, writer in opened:
        writer.close()
    return Measured(requests=len(arrivals_s), seconds=seconds, cpu_ms=cpu_ms, failures=failures)


def _request(index: int) -> bytes:
    body = b'{"message":"Hello, I walked by the sea today, alone","personality_name":"p%05d"}'
    body %= index * 7 % PERSONALITIES
    return (
        b"POST /chat HTTP/1.1\r\nHost: service\r\nContent-Type: application/json\r\n"
        b"X-User-Id: u%05d\r\ntraceparent: 00-%032x-%016x-01\r\n"
        b"baggage: worthit.run=bench,worthit.arm=on,worthit.step=0,worthit.block=0,"
        b"worthit.scenario=chat,worthit.draw=%d\r\n"
        b"Content-Length: %d\r\n\r\n%b"
    ) % (index * 13 % USERS, index + 1, index + 1, index, len(body), body)


async def _answered(reader: asyncio.StreamReader) -> bool:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)
    return head.startswith(b"HTTP/1.1 200")


def _cpu_seconds(process: psutil.Process) -> float:
    times = [
        process.cpu_times(),
        *(child.cpu_times() for child in process.children(recursive=True)),
    ]
    return sum(time.user + time.system for time in times)
