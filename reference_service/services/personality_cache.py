"""Personalities in Redis: ids and configurations by name, both in one round trip."""

from __future__ import annotations

import logging
import random
from typing import Any, Final
from uuid import UUID

from reference_service.models import Personality
from reference_service.services.envelope import CorruptEntryError, open_envelope, seal
from reference_service.storage.redis_link import DEL, MGET, RedisLink
from reference_service.telemetry.metrics import CacheMetrics

_LOG = logging.getLogger(__name__)

TTL_JITTER: Final = 0.10
"""Entries written together must not expire together."""
WRITER_TTL_SECONDS: Final = 10
"""How long an announced write keeps caches from being filled, at least; above the longest
statement, so that one whose end nobody heard of has ended."""
FENCE_TTL_SECONDS: Final = 120
"""How long the version of a write is remembered; no fill takes that long."""


# KEYS: id, config, fence, writers. A fill is refused while a write is under way and when a newer
# row is known.
_FILL: Final = """
local writers = redis.call('EXISTS', KEYS[4])
local fence = redis.call('GET', KEYS[3])
local hits = writers + (fence and 1 or 0)
local stored = 0
if writers == 0 and not (fence and tonumber(fence) > tonumber(ARGV[1])) then
  redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[4])
  if ARGV[3] ~= '' then redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4]) end
  stored = 1
end
return {stored, hits, 2 - hits}
"""
_BEGIN_WRITE: Final = """
redis.call('SADD', KEYS[4], ARGV[1])
redis.call('EXPIRE', KEYS[4], ARGV[2])
redis.call('DEL', KEYS[1], KEYS[2])
return {1, 0, 0}
"""
_END_WRITE: Final = """
redis.call('SREM', KEYS[4], ARGV[1])
local fence = redis.call('GET', KEYS[3])
if not (fence and tonumber(fence) > tonumber(ARGV[2])) then
  redis.call('SET', KEYS[3], ARGV[2], 'EX', ARGV[3])
end
redis.call('DEL', KEYS[1], KEYS[2])
return {1, fence and 1 or 0, fence and 0 or 1}
"""


class Absent:
    """Says that the cache knows: there is no such personality."""


ABSENT: Final = Absent()


def keys(name: str) -> tuple[str, str, str, str]:
    """Return a personality's keys: id, config, and fence and writers, which order writes."""
    stem = f"personality:global:{name}"
    return f"{stem}:id", f"{stem}:config", f"{stem}:fence", f"{stem}:writers"


class PersonalityCache:
    """Reads, fills and invalidates; Redis failing is a RedisUnavailableError, nothing else."""

    def __init__(
        self,
        redis: RedisLink,
        *,
        metrics: CacheMetrics,
        ttl_seconds: int,
        negative_ttl_seconds: int,
        writer_ttl_seconds: int,
        rng: random.Random,
    ) -> None:
        self._redis = redis
        self._metrics = metrics
        self._ttl_seconds = ttl_seconds
        self._negative_ttl_seconds = negative_ttl_seconds
        self._writer_ttl_seconds = writer_ttl_seconds
        self._rng = rng

    async def get(self, name: str) -> Personality | Absent | None:
        """Return the personality, ABSENT when there is none, or None for nothing cached."""
        id_key, config_key, _, _ = keys(name)
        id_entry, config_entry = await self._redis.run(MGET, id_key, config_key)
        if id_entry is None:
            return None
        try:
            return _decode(name, id_entry, config_entry)
        except CorruptEntryError:
            self._metrics.event("corrupt")
            _LOG.warning("PersonalityCache: corrupt entry deleted", extra={"personality": name})
            await self._redis.run(DEL, id_key, config_key)
            return None

    async def fill(self, name: str, personality: Personality | None) -> bool:
        """Store what PostgreSQL said; False when a write came in between and it may be old."""
        id_key, config_key, _, _ = keys(name)
        if personality is None:
            version, ttl = 0, self._negative_ttl_seconds
            id_entry, config_entry = seal(id_key, 0, None), b""
        else:
            version, ttl = personality.row_version, self._jittered(self._ttl_seconds)
            id_entry = seal(id_key, version, str(personality.id))
            config_entry = seal(config_key, version, _config(personality))
        stored, _, _ = await self._redis.run_script(
            _FILL, keys(name), version, id_entry, config_entry, ttl
        )
        if stored and personality is not None:
            _LOG.info("💾 Cached personality '%s' -> %s", name, personality.id)
        return bool(stored)

    async def begin_write(self, name: str, token: str) -> None:
        """Announce a write: what is cached goes, and nothing is cached until `end_write`.

        Without that, until no statement can be under way any more.
        """
        await self._redis.run_script(
            _BEGIN_WRITE, keys(name), token, self._writer_ttl_seconds, insist=True
        )

    async def end_write(self, name: str, token: str, row_version: int) -> None:
        """After the commit: delete what is cached, and refuse fills of older rows from now on."""
        await self._redis.run_script(
            _END_WRITE, keys(name), token, row_version, FENCE_TTL_SECONDS, insist=True
        )

    def _jittered(self, seconds: int) -> int:
        return max(1, round(seconds * self._rng.uniform(1 - TTL_JITTER, 1 + TTL_JITTER)))


def _config(personality: Personality) -> dict[str, Any]:
    return {
        "archetype": personality.archetype,
        "system_prompt": personality.system_prompt,
        "traits": personality.traits,
    }


def _decode(name: str, id_entry: bytes, config_entry: bytes | None) -> Personality | Absent | None:
    id_key, config_key, _, _ = keys(name)
    identity = open_envelope(id_key, id_entry)
    if identity.value is None:
        return ABSENT
    if config_entry is None:
        return None
    config = open_envelope(config_key, config_entry)
    if config.row_version != identity.row_version:
        return None
    try:
        identifier, fields = UUID(identity.value), config.value
        archetype, prompt, traits = fields["archetype"], fields["system_prompt"], fields["traits"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CorruptEntryError("an entry holds no personality") from error
    if not type(archetype) is type(prompt) is str or type(traits) is not dict:
        raise CorruptEntryError("an entry holds a personality of other types")
    return Personality(
        id=identifier, name=name, archetype=archetype, system_prompt=prompt, traits=traits,
        row_version=identity.row_version,
    )  # fmt: skip
