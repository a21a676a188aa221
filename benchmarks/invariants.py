"""Do the cache's invariants hold at full size: mix-ups, stale reads, servers hung and stopped?

The same tries as in the tests, with 100,000 cancelled lookups and 10,000 races; then what Redis
adds to the latency of a chat when it hangs or refuses, before the breaker opens and after; then
what PostgreSQL's absence of 4 s does, and how soon a chat is answered when it is back.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence

from benchmarks.support.cache_invariants import cancelled_lookups, races
from benchmarks.support.chat_servers import PERSONALITIES, Servers, servers
from benchmarks.support.faults import Latencies, chatting, faults, postgres_outage, redis_episodes
from reference_service.composition import Service, build
from reference_service.settings import Settings
from reference_service.telemetry import setup

PARTS = ("mix-ups", "races", "redis", "postgres")
AWAY_SECONDS = 4.0
"""Of PostgreSQL, each time."""


async def _parts(running: Servers, **settings: object) -> Service:
    given = {name.lower(): value for name, value in running.environment().items()}
    made = build(Settings.model_validate({**given, **settings}), setup.from_environment())
    await made.database.open()
    await made.database.pool.wait(10)
    return made


async def _close(parts: Service) -> None:
    await parts.personalities.close()
    await parts.models.close()
    if parts.redis is not None:
        await parts.redis.close()
    await parts.database.close()


async def _mix_ups(running: Servers, lookups: int) -> bool:
    parts = await _parts(running, redis_max_connections=8)
    names = [f"p{index:05d}" for index in range(PERSONALITIES)]
    ended = await cancelled_lookups(
        parts, names, lookups=lookups, flush=running.redis.flush, flush_every=5000
    )
    await _close(parts)
    print(
        f"{lookups} lookups, 30 % of the callers leave: {ended['wrong']} wrong (aim: 0); "
        f"{dict(sorted(ended.items()))}",
        flush=True,
    )
    return not ended["wrong"]


async def _races(running: Servers, writes: int) -> bool:
    writer, reader = await _parts(running), await _parts(running)
    stale, reads = await races(writer, reader, writes=writes)
    await _close(writer)
    await _close(reader)
    print(f"{writes} writes raced by {reads} reads: {stale} stale (aim: 0)", flush=True)
    return not stale


async def _redis(running: Servers, episodes: int) -> bool:
    good = True
    async with chatting(running) as client:
        for fault in ("hung", "refused"):
            away, back = faults(running.redis, frozen=fault == "hung")
            found = await redis_episodes(client, away, back, episodes)
            failed = found.statuses.total() - found.statuses[200]
            good = good and not failed
            _tell_redis(fault, episodes, found, failed)
    return good


def _tell_redis(fault: str, episodes: int, found: Latencies, failed: int) -> None:
    normal, closed, opened = (
        1e3 * percentile(seconds, 99) for seconds in (found.normal, found.closed, found.opened)
    )
    print(
        f"Redis {fault} {episodes} times: {failed} of {found.statuses.total()} chats failed "
        f"(aim: 0)\n"
        f"  a chat's p50 and p99, ms: {_ms(found.normal)} with Redis (n = {len(found.normal)}), "
        f"{_ms(found.closed)} until the breaker opens (n = {len(found.closed)}), "
        f"{_ms(found.opened)} after (n = {len(found.opened)})\n"
        f"  added p99: {closed - normal:+.1f} ms until the breaker opens (aim: 60), "
        f"{opened - normal:+.2f} ms after (aim: 1)\n"
        f"  used again at most {max(found.recovery):.2f} s after its return, by no restart",
        flush=True,
    )


async def _postgres(running: Servers, times: int) -> bool:
    good = True
    async with chatting(running) as client:
        for fault in ("stopped", "frozen") * times:
            away, back = faults(running.postgres, frozen=fault == "frozen")
            found = await postgres_outage(client, away, back, AWAY_SECONDS)
            as_told = (
                (set(found.cached), found.ready) == ({200}, 503)
                and found.chats.keys() <= {200, 503}
                and not found.without_retry_after
            )
            good = good and as_told
            print(
                f"PostgreSQL {fault} for {AWAY_SECONDS:g} s: cached personalities "
                f"{dict(found.cached)} (aim: 200 only), chats {dict(sorted(found.chats.items()))} "
                f"(aim: 503, those without Retry-After {found.without_retry_after}), "
                f"a chat again {found.recovery_seconds:.2f} s after its return (aim: 1)",
                flush=True,
            )
    return good


def percentile(seconds: Sequence[float], percent: float) -> float:
    """Return the least value that so many per cent are not above."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def _ms(seconds: Sequence[float]) -> str:
    return f"{1e3 * percentile(seconds, 50):.1f} and {1e3 * percentile(seconds, 99):.1f}"


async def _run(options: argparse.Namespace) -> int:
    wanted = options.only or PARTS
    good = True
    async with servers() as running:
        if "mix-ups" in wanted:
            good &= await _mix_ups(running, options.lookups)
        if "races" in wanted:
            good &= await _races(running, options.races)
        if "redis" in wanted:
            good &= await _redis(running, options.episodes)
        if "postgres" in wanted:
            good &= await _postgres(running, options.outages)
    return 0 if good else 1


def main(argv: list[str]) -> int:
    """Try the invariants and print what came of it."""
    parser = argparse.ArgumentParser(prog="benchmarks invariants", description=__doc__)
    parser.add_argument("--lookups", type=int, default=100_000)
    parser.add_argument("--races", type=int, default=10_000)
    parser.add_argument("--episodes", type=int, default=25, help="of Redis away, of each kind")
    parser.add_argument("--outages", type=int, default=2, help="of PostgreSQL, of each kind")
    parser.add_argument("--only", action="append", choices=PARTS, help="may be given again")
    return asyncio.run(_run(parser.parse_args(argv)))
