"""What the personality cache promises, on a real Redis and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import suppress

import pytest

from benchmarks.support.cache_invariants import cancelled_lookups, races
from reference_service.errors import OverloadedError, PersonalityNotFoundError
from reference_service.models import PersonalityConfig
from reference_service.services.envelope import seal
from tests.support.servers.chat_servers import PERSONALITIES, ChatServers
from tests.support.traces.span_sink import SpanSink, attributes

pytestmark = pytest.mark.integration

LOOKUPS = 10_000
"""Lookups of the cancellation storm; benchmarks/invariants.py makes 100,000."""

RACES = 400
"""Write/read races; benchmarks/invariants.py makes 10,000."""


@pytest.fixture(autouse=True)
def _empty_cache(servers: ChatServers) -> None:
    servers.redis_client().flushall()


def _outcomes(sink: SpanSink) -> Counter[str]:
    """Return how often each outcome of a lookup, and each event beside them, was counted."""
    of = {"cache": "personality"}
    return Counter(
        sink.counts("chat.cache.lookups", "outcome", **of)
        | sink.counts("chat.cache.events", "event", **of)
    )


async def test_100_simultaneous_misses_make_one_query(servers: ChatServers) -> None:
    """A hundred callers who miss the same key at once cost PostgreSQL one query."""
    async with servers.parts(redis_enabled=True) as (parts, sink):
        lookups = (parts.personalities.get_personality("p00001") for _ in range(100))
        found = await asyncio.gather(*lookups)

    assert {"p00001"} == {personality.name for personality in found}
    assert 1 == len(sink.named("SELECT personalities"))


async def test_a_hit_costs_one_redis_command_and_no_query(servers: ChatServers) -> None:
    """Redis's own count says that a hit is one command, for id and configuration together."""
    client = servers.redis_client()
    async with servers.parts(redis_enabled=True) as (parts, sink):
        first = await parts.personalities.get_personality("elara")
        sink.clear()
        before = client.info("commandstats")
        second = await parts.personalities.get_personality("elara")
        after = client.info("commandstats")

    assert first == second
    assert [] == sink.named("SELECT personalities")
    calls = {
        name: stats["calls"] - before.get(name, {"calls": 0})["calls"]
        for name, stats in after.items()
    }
    calls.pop("cmdstat_info")
    assert {"cmdstat_mget": 1} == {name: count for name, count in calls.items() if count}
    [lookup] = sink.named("personality.lookup")
    found = attributes(lookup)
    assert 16 == len(found.pop("worthit.key"))
    assert {"cache.hit": True, "cache.source": "redis"} == found


async def test_keys_and_ttl_are_those_of_the_write_up(servers: ChatServers) -> None:
    """`personality:global:{name}:id` and `:config` live 24 h, give or take a tenth each."""
    client = servers.redis_client()
    async with servers.parts(redis_enabled=True) as (parts, _):
        for index in range(40):
            await parts.personalities.get_personality(f"p{index:05d}")

    found = sorted(client.keys("personality:*"))
    expected = sorted(
        f"personality:global:p{index:05d}:{part}".encode()
        for index in range(40)
        for part in ("id", "config")
    )
    assert expected == found
    ttls = [client.ttl(key) for key in found]
    assert 86_400 * 0.9 - 5 <= min(ttls)
    assert max(ttls) <= 86_400 * 1.1
    assert len(set(ttls)) > 20


async def test_an_unknown_name_is_remembered_for_less_than_a_minute(servers: ChatServers) -> None:
    """That there is no such personality is cached for 30 to 60 s, and ends with a PUT of it."""
    client = servers.redis_client()
    async with servers.parts(redis_enabled=True) as (parts, sink):
        for _ in range(3):
            with pytest.raises(PersonalityNotFoundError):
                await parts.personalities.get_personality("nobody")
        queries = len(sink.named("SELECT personalities"))
        ttl = client.ttl("personality:global:nobody:id")
        await parts.personalities.put("nobody", _config("made"))
        found = await parts.personalities.get_personality("nobody")
        await parts.personalities.delete("nobody")
        with pytest.raises(PersonalityNotFoundError):
            await parts.personalities.get_personality("nobody")
        outcomes = _outcomes(sink)

    assert 1 == queries
    assert 30 <= ttl <= 60
    assert "made" == found.archetype
    assert 2 == outcomes["negative"]


_OTHERS = seal("personality:global:p00003:id", 1, "a1b2c3d4-0000-4000-8000-000000000000")


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"not json",
        b"[1, 2]",
        b'{"schema": 0, "key": "k", "row_version": 1, "value": "x"}',
        b'{"schema":1,"key":"personality:global:p00002:id","row_version":VERSION,"value":"no"}',
        b'{"schema":1,"key":"personality:global:p00002:id","row_version":"1","value":null}',
        b'{"schema":1,"key":"personality:global:p00002:id","row_version":VERSION,"value":7}',
        _OTHERS,
        b"x" * 300_000,
    ],
    ids=[
        *("empty", "text", "list", "old-schema", "no-uuid", "version", "number"),
        *("of-another-key", "huge"),
    ],
)
async def test_a_corrupt_entry_is_a_miss_and_is_replaced(
    servers: ChatServers, entry: bytes
) -> None:
    """Whatever lies under the key, the right personality is answered and cached anew."""
    client = servers.redis_client()
    async with servers.parts(redis_enabled=True) as (parts, sink):
        truth = await parts.personalities.get_personality("p00002")
        entry = entry.replace(b"VERSION", b"%d" % truth.row_version)
        client.set("personality:global:p00002:id", entry)
        found = await parts.personalities.get_personality("p00002")
        again = await parts.personalities.get_personality("p00002")
        outcomes = _outcomes(sink)

    assert [truth, truth] == [found, again]
    assert (1, 1, 2) == (outcomes["corrupt"], outcomes["hit"], outcomes["miss"])


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        {"archetype": "a", "system_prompt": None, "traits": {}},
        {"archetype": 1, "system_prompt": "p", "traits": {}},
        {"archetype": "a", "system_prompt": "p", "traits": ["t"]},
        {"archetype": "a", "traits": {}},
    ],
    ids=["null", "text", "prompt", "archetype", "traits", "missing"],
)
async def test_a_configuration_of_other_types_is_a_miss_and_is_replaced(
    servers: ChatServers, value: object
) -> None:
    """A sound envelope around a value of other types reaches neither prompt nor answer."""
    key = "personality:global:p00005:config"
    async with servers.parts(redis_enabled=True) as (parts, sink):
        truth = await parts.personalities.get_personality("p00005")
        servers.redis_client().set(key, seal(key, truth.row_version, value))
        found = await parts.personalities.get_personality("p00005")
        again = await parts.personalities.get_personality("p00005")
        outcomes = _outcomes(sink)

    assert [truth, truth] == [found, again]
    assert (1, 1, 2) == (outcomes["corrupt"], outcomes["hit"], outcomes["miss"])


async def test_an_entry_of_another_type_fails_no_lookup(servers: ChatServers) -> None:
    """A list under the key makes Redis refuse the read; the lookup falls back to PostgreSQL."""
    client = servers.redis_client()
    client.lpush("conversation:u00001:x", "y")
    client.hset("personality:global:p00004:id", "a", "b")
    async with servers.parts(redis_enabled=True) as (parts, _):
        found = await parts.personalities.get_personality("p00004")

    assert "p00004" == found.name


async def test_a_full_redis_fails_no_lookup(servers: ChatServers) -> None:
    """When Redis refuses to store (out of memory), lookups go on and the breaker stays closed."""
    client = servers.redis_client()
    client.config_set("maxmemory", "1")
    try:
        async with servers.parts(redis_enabled=True) as (parts, sink):
            found = [
                await parts.personalities.get_personality(f"p{index:05d}") for index in range(8)
            ]
            state = parts.redis_state()
            outcomes = _outcomes(sink)
    finally:
        client.config_set("maxmemory", "0")

    assert [f"p{index:05d}" for index in range(8)] == [personality.name for personality in found]
    assert ("closed", 8) == (state, outcomes["fill_failed"])


async def test_every_lookup_has_one_outcome(servers: ChatServers) -> None:
    """Hits, negatives, misses, bypasses and errors add up to the lookups made."""
    client = servers.redis_client()
    names = ["elara", "p00001", "nobody-here", "p00002"]
    rng = random.Random(1)
    async with servers.parts(redis_enabled=True) as (parts, sink):
        for index in range(300):
            if index == 100:
                client.flushall()
            with suppress(PersonalityNotFoundError):
                await parts.personalities.get_personality(rng.choice(names))
        outcomes = _outcomes(sink)
        lookups = len(sink.named("personality.lookup"))

    counted = sum(outcomes[name] for name in ("hit", "negative", "miss", "bypass", "error"))
    assert (300, 300) == (counted, lookups)
    assert 8 == outcomes["miss"]  # each name once at first, and once after the flush


async def test_no_read_after_a_commit_is_older(servers: ChatServers) -> None:
    """A lookup that begins after a commit, in any process, gives that version or a newer one."""
    async with (
        servers.parts(redis_enabled=True) as (writer, _),
        servers.parts(redis_enabled=True) as (reader, _),
    ):
        stale, reads = await races(writer, reader, writes=RACES)

    assert 0 == stale
    assert reads > RACES


async def test_no_read_after_a_commit_is_older_while_redis_is_away(servers: ChatServers) -> None:
    """Joining a query that was sent before the commit does not do; the next one counts."""
    servers.call(servers.redis.stop())
    found = []
    try:
        async with (
            servers.parts(redis_enabled=True, latency_profile="seed") as (reader, _),
            servers.parts() as (writer, _),
        ):
            await writer.personalities.put("behind", _config("v"))
            for index in range(15):
                # It has read the row at once, and then holds it for 5 to 10 ms.
                before = asyncio.create_task(reader.personalities.get_personality("behind"))
                await asyncio.sleep(0.003)
                await writer.personalities.put("behind", _config(f"v{index}"))
                after = await reader.personalities.get_personality("behind")
                await before
                found.append(after.archetype)
            await writer.personalities.delete("behind")
    finally:
        servers.call(servers.redis.start())

    assert [f"v{index}" for index in range(15)] == found


async def test_a_slow_fill_never_overwrites_a_newer_value(servers: ChatServers) -> None:
    """A row read before a write, offered to the cache after it, is refused."""
    async with servers.parts(redis_enabled=True) as (parts, _):
        old = await parts.personalities.put("slow", _config("old"))
        await parts.personalities.put("slow", _config("new"))
        cache = parts.personalities.cache
        assert cache is not None
        stored = await cache.fill("slow", old)
        found = await parts.personalities.get_personality("slow")
        await parts.personalities.delete("slow")

    assert (False, "new") == (stored, found.archetype)


async def test_cancelled_lookups_never_mix_up_answers(servers: ChatServers) -> None:
    """Of many lookups with 30 % cancelled, each that ends gives what it asked for."""
    names = [f"p{index:05d}" for index in range(PERSONALITIES)]

    async def flush() -> None:
        servers.redis_client().flushall()

    async with servers.parts(redis_enabled=True, redis_max_connections=8) as (parts, _):
        ended = await cancelled_lookups(
            parts, names, lookups=LOOKUPS, flush=flush, flush_every=2000
        )

    assert 0 == ended["wrong"]
    assert ended["cancelled"] > LOOKUPS * 0.05
    assert ended["right"] > LOOKUPS * 0.6


async def test_a_new_instance_starts_warm(servers: ChatServers) -> None:
    """With PERSONALITY_PREWARM the first lookup of a new instance on an empty Redis is a hit."""
    async with servers.parts(redis_enabled=True) as (parts, sink):
        taken = await parts.personalities.prewarm(10)
        sink.clear()
        await parts.personalities.get_personality("p00003")

    assert 10 == taken
    assert [] == sink.named("SELECT personalities")


async def test_the_fallback_is_bounded_and_sheds(servers: ChatServers) -> None:
    """While Redis is away few lookups query PostgreSQL at once; the rest is told to wait."""
    servers.call(servers.redis.stop())
    try:
        async with servers.parts(
            redis_enabled=True,
            fallback_max_concurrency=2,
            fallback_max_waiting=3,
            latency_profile="seed",
        ) as (parts, sink):
            lookups = (parts.personalities.get_personality(f"p{index:05d}") for index in range(30))
            found = await asyncio.gather(*lookups, return_exceptions=True)
            spans = sink.named("SELECT personalities")
    finally:
        servers.call(servers.redis.start())

    shed = [error for error in found if isinstance(error, OverloadedError)]
    assert (5, 25) == (len(spans), len(shed))
    assert {(503, 1)} == {(error.status, error.retry_after_seconds) for error in shed}
    moments = sorted(
        [(span.start_time, 1) for span in spans] + [(span.end_time, -1) for span in spans]
    )
    at_once = running = 0
    for _, change in moments:
        running += change
        at_once = max(at_once, running)
    assert at_once <= 2


async def test_nobody_waits_for_a_hung_redis_twice(servers: ChatServers) -> None:
    """Of a hundred lookups behind two connections, none takes longer than one deadline.

    Those who only queue fall back before it is over, for they would get no answer in the rest.
    """
    deadline_seconds = 4.0  # half of it is left for a hundred reads of the database, busy or not
    async with servers.parts(
        redis_enabled=True,
        redis_timeout_ms=round(deadline_seconds * 1000),
        redis_max_connections=2,
        fallback_max_waiting=1000,
        fallback_wait_seconds=5,
    ) as (parts, _):
        await parts.personalities.get_personality("elara")

        async def timed(name: str) -> float:
            began = time.perf_counter()
            await parts.personalities.get_personality(name)
            return time.perf_counter() - began

        servers.redis.pause()
        try:
            lookups = (timed(f"p{index % PERSONALITIES:05d}") for index in range(100))
            seconds = await asyncio.gather(*lookups)
        finally:
            servers.redis.resume()

    assert 2 == sum(one >= deadline_seconds for one in seconds)
    assert min(seconds) >= 0.4 * deadline_seconds
    assert max(seconds) < 2 * deadline_seconds


async def test_an_invalidation_that_failed_is_made_up_for(servers: ChatServers) -> None:
    """A PUT while Redis hangs succeeds; once Redis is back the old entry goes by itself."""
    async with servers.parts(redis_enabled=True, redis_timeout_ms=200) as (parts, _):
        await parts.personalities.put("late", _config("old"))
        await parts.personalities.get_personality("late")
        servers.redis.pause()
        try:
            await parts.personalities.put("late", _config("new"))
        finally:
            servers.redis.resume()
        for _ in range(40):
            await asyncio.sleep(0.1)
            if not parts.personalities.invalidations_pending:
                break
        found = await parts.personalities.get_personality("late")
        await parts.personalities.delete("late")

    assert "new" == found.archetype


def _config(archetype: str) -> PersonalityConfig:
    return PersonalityConfig(archetype=archetype, system_prompt="You are made for a test.")
