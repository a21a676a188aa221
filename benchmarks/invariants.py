"""Do the cache's invariants hold at full size: mix-ups, stale reads, hung Redis?

The same tries as in the tests, with 100,000 cancelled lookups and 10,000 races, and with the
latency that a hung or refusing Redis adds to a lookup, before the breaker opens and after.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections import Counter

from benchmarks._chat_rig import PERSONALITIES, Servers, servers
from reference_service.composition import Service, build
from reference_service.errors import OverloadedError
from reference_service.models import PersonalityConfig
from reference_service.resilience.circuit_breaker import BreakerState
from reference_service.settings import Settings
from reference_service.storage.personalities import PersonalityStore


async def _parts(running: Servers, **settings: object) -> Service:
    given = {name.lower(): value for name, value in running.environment().items()}
    made = build(Settings.model_validate({**given, **settings}))
    await made.database.open()
    await made.database.pool.wait(10)
    return made


async def _close(parts: Service) -> None:
    await parts.personalities.close()
    await parts.models.close()
    if parts.redis is not None:
        await parts.redis.close()
    await parts.database.close()


async def _mix_ups(running: Servers, lookups: int) -> Counter[str]:
    """Look up names with 30 % of the callers cancelled at any moment."""
    parts = await _parts(running, redis_max_connections=8)
    rng = random.Random(7)
    names = [f"p{index:05d}" for index in range(PERSONALITIES)]
    ended: Counter[str] = Counter()

    async def one(name: str) -> None:
        task = asyncio.create_task(parts.personalities.get_personality(name))
        if rng.random() < 0.3:
            await asyncio.sleep(rng.random() * 0.002)
            task.cancel()
        try:
            ended["right" if (await task).name == name else "WRONG"] += 1
        except asyncio.CancelledError:
            ended["cancelled"] += 1
        except OverloadedError:
            ended["shed"] += 1

    for start in range(0, lookups, 100):
        if start % 5000 == 0:
            await running.redis.flush()
        await asyncio.gather(*(one(rng.choice(names)) for _ in range(100)))
    await _close(parts)
    return ended


async def _races(running: Servers, races: int) -> tuple[int, int]:
    """Write through one instance while both read; return stale reads and all reads."""
    writer, reader = await _parts(running), await _parts(running)
    config = PersonalityConfig(archetype="raced", system_prompt="You are raced.")
    await writer.personalities.put("raced", config)
    stale = reads = 0

    async def write() -> None:
        for _ in range(races):
            await writer.personalities.put("raced", config)

    async def read(parts: Service) -> None:
        nonlocal stale, reads
        store = PersonalityStore(parts.database)
        while not writing.done():
            committed = await store.get("raced")  # what PostgreSQL itself has by now
            found = await parts.personalities.get_personality("raced")
            stale += committed is not None and found.row_version < committed.row_version
            reads += 1

    writing = asyncio.create_task(write())
    await asyncio.gather(writing, *(read(one) for one in (reader, writer) * 3))
    await writer.personalities.delete("raced")
    await _close(writer)
    await _close(reader)
    return stale, reads


async def _added(running: Servers, fault: str) -> tuple[float, float, int]:
    """Return the p99 that a fault adds to a lookup, in ms: with the breaker closed, and open."""
    parts = await _parts(running, fallback_max_waiting=1000, fallback_wait_seconds=5)
    normal = await _lookups(parts, 500)
    if fault == "hung":
        running.redis.pause()
    else:
        await running.redis.stop()
    before_open: list[float] = []
    while parts.redis is not None and parts.redis.breaker.state is BreakerState.CLOSED:
        before_open += await _lookups(parts, 1)
    # Probes (one a second) wait for Redis; between two of them nobody does.
    after = await _lookups(parts, 500, until=time.perf_counter() + 0.8)
    if fault == "hung":
        running.redis.resume()
    else:
        await running.redis.start()
    await _close(parts)
    direct = await _direct(running)
    base = _p99(normal)
    return _p99(before_open) - base, _p99(after) - _p99(direct), len(before_open)


async def _direct(running: Servers) -> list[float]:
    """Return the seconds of lookups without any cache: what the fallback costs by itself."""
    parts = await _parts(running, redis_enabled=False)
    found = await _lookups(parts, 500)
    await _close(parts)
    return found


async def _lookups(parts: Service, count: int, until: float = float("inf")) -> list[float]:
    seconds = []
    for index in range(count):
        began = time.perf_counter()
        if began > until:
            break
        await parts.personalities.get_personality(f"p{index % PERSONALITIES:05d}")
        seconds.append(time.perf_counter() - began)
    return seconds


def _p99(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)] * 1000 if seconds else float("nan")


async def _run(lookups: int, races: int) -> int:
    async with servers() as running:
        ended = await _mix_ups(running, lookups)
        print(f"{lookups} lookups, 30 % cancelled: {dict(ended)}   (aim: 0 WRONG)")
        stale, reads = await _races(running, races)
        print(f"{races} writes raced by {reads} reads: {stale} stale   (aim: 0)")
        for fault in ("hung", "refused"):
            closed, opened, needed = await _added(running, fault)
            print(
                f"Redis {fault}: p99 of a lookup +{closed:.1f} ms over {needed} lookups until the "
                f"breaker opens (aim: 60), {opened:+.2f} ms against no cache after (aim: 1)"
            )
    return 1 if ended["WRONG"] or stale else 0


def main(argv: list[str]) -> int:
    """Try the invariants and print what came of it."""
    parser = argparse.ArgumentParser(prog="benchmarks invariants", description=__doc__)
    parser.add_argument("--lookups", type=int, default=100_000)
    parser.add_argument("--races", type=int, default=10_000)
    options = parser.parse_args(argv)
    return asyncio.run(_run(options.lookups, options.races))
