"""The latest turns of a conversation: PostgreSQL holds the record, Redis may hold a copy."""

from __future__ import annotations

import random
from typing import Final
from uuid import UUID

import orjson

from reference_service.models import Turn
from reference_service.resilience.repairs import Repairs
from reference_service.services.envelope import CorruptEntryError
from reference_service.storage.redis_link import (
    DEL,
    SET,
    ZRANGE,
    RedisLink,
    RedisUnavailableError,
)
from reference_service.storage.turns import TurnStore
from reference_service.telemetry.metrics import CacheMetrics

_SCHEMA: Final = 1
"""Raise it when an entry changes its form: older ones then count as missing."""
_LEASE_SECONDS: Final = 60
"""How long a reader may take from finding nothing to its copy; a slower copy is refused."""

# KEYS: the turns, the lease. The turns are a sorted set by their ids: adding one again changes
# nothing, and one that is late takes its place. It is added only where there is a set to add to;
# whoever is copying one may have read before it was stored, and loses the lease.
_APPEND: Final = """
redis.call('DEL', KEYS[2])
if redis.call('EXPIRE', KEYS[1], ARGV[1]) == 0 then return {0, 0, 0} end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[4])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -tonumber(ARGV[2]) - 1)
return {1, 0, 0}
"""
_COPY: Final = """
local lease = redis.call('GET', KEYS[2])
local hit = lease and 1 or 0
if lease ~= ARGV[1] then return {0, hit, 1 - hit} end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('ZADD', KEYS[1], unpack(ARGV, 3))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return {1, hit, 1 - hit}
"""


class StoredConversation:
    """Reads every time from PostgreSQL."""

    def __init__(self, store: TurnStore, count: int) -> None:
        self._store = store
        self._count = count

    async def load(self, user_id: str, personality_id: UUID) -> list[Turn]:
        """Return the latest turns, the oldest of them first."""
        return (
            await self._store.recent(user_id, personality_id, self._count) if self._count else []
        )

    async def remember(self, user_id: str, personality_id: UUID, turn: Turn) -> None:
        """Nothing to do: PostgreSQL has it."""

    async def forget(self, user_id: str, personality_id: UUID) -> None:
        """Nothing to do: PostgreSQL knows."""


class RedisConversationBuffer:
    """Keeps the latest turns in Redis: shared by all instances, alive across restarts.

    A buffer begins as a copy of what PostgreSQL has and grows with each stored turn. A copy needs
    a lease, taken before PostgreSQL is asked and lost to the next turn stored, so that none is
    missing from it. When a turn could not be added, or nobody knows whether it was stored, the
    buffer is deleted, as soon as Redis is back, and this process does not read it until then.
    """

    def __init__(
        self,
        redis: RedisLink,
        record: StoredConversation,
        *,
        metrics: CacheMetrics,
        count: int,
        ttl_seconds: int,
        rng: random.Random,
    ) -> None:
        self._redis = redis
        self._record = record
        self._metrics = metrics
        self._count = count
        self._ttl_seconds = ttl_seconds
        self._rng = rng
        self._repairs = Repairs()

    @property
    def deletions_pending(self) -> int:
        """Return how many buffers wait for Redis to delete them."""
        return len(self._repairs)

    async def load(self, user_id: str, personality_id: UUID) -> list[Turn]:
        """Return the latest turns: from the buffer, else from PostgreSQL into the buffer."""
        key = _key(user_id, personality_id)
        lease = self._rng.getrandbits(62)
        try:
            turns = await self._read(key)
            if not turns:
                await self._redis.run(SET, _lease(key), lease, "EX", _LEASE_SECONDS)
        except RedisUnavailableError as error:
            self._metrics.lookup("bypass" if error.skipped else "error")
            return await self._record.load(user_id, personality_id)
        if turns:
            self._metrics.lookup("hit")
            return turns
        self._metrics.lookup("miss")
        turns = await self._record.load(user_id, personality_id)
        if turns:
            await self._copy(key, lease, turns)
        return turns

    async def remember(self, user_id: str, personality_id: UUID, turn: Turn) -> None:
        """Add a turn that PostgreSQL has stored, however often and late."""
        key = _key(user_id, personality_id)
        if self._repairs.pending(key):
            self._delete_later(key)  # also after this turn: a copy may have been made without it
            return
        try:
            await self._redis.run_script(
                _APPEND,
                (key, _lease(key)),
                *(self._ttl_seconds, self._count, turn.id, _entry(key, turn)),
            )
            self._metrics.event("fill")
        except RedisUnavailableError:
            self._metrics.event("fill_failed")
            self._delete_later(key)

    async def forget(self, user_id: str, personality_id: UUID) -> None:
        """Delete the buffer, for it may lack a turn."""
        key = _key(user_id, personality_id)
        if self._repairs.pending(key) or not await self._deleted(key):
            self._delete_later(key)

    async def close(self) -> None:
        """Delete once more what is to be deleted."""
        await self._repairs.close()

    async def _read(self, key: str) -> list[Turn]:
        if self._repairs.pending(key):
            raise RedisUnavailableError("repair_pending")
        entries = await self._redis.run(ZRANGE, key, -self._count, -1)
        try:
            return [_turn(key, entry) for entry in entries]
        except CorruptEntryError:
            self._metrics.event("corrupt")
            await self._redis.run(DEL, key)
            return []

    async def _copy(self, key: str, lease: int, turns: list[Turn]) -> None:
        scored = [part for turn in turns for part in (turn.id, _entry(key, turn))]
        try:
            stored, _, _ = await self._redis.run_script(
                _COPY, (key, _lease(key)), lease, self._ttl_seconds, *scored
            )
            self._metrics.event("fill" if stored else "fill_refused")
        except RedisUnavailableError:
            self._metrics.event("fill_failed")

    def _delete_later(self, key: str) -> None:
        self._repairs.add(key, lambda: self._deleted(key))

    async def _deleted(self, key: str) -> bool:
        try:
            await self._redis.run(DEL, key, _lease(key))
        except RedisUnavailableError:
            return False
        return True


def _key(user_id: str, personality_id: UUID) -> str:
    return f"conversation:{user_id}:{personality_id}:turns"


def _lease(key: str) -> str:
    return f"{key}:lease"


def _entry(key: str, turn: Turn) -> bytes:
    """Return a turn as JSON; it carries its key, so that it can be told from another's."""
    return orjson.dumps([_SCHEMA, key, turn.id, turn.user_message, turn.reply])


def _turn(key: str, entry: bytes) -> Turn:
    """Return the turn in an entry; raises CorruptEntryError when it holds none of this key."""
    try:
        schema, owner, identity, message, reply = orjson.loads(entry)
    except (ValueError, TypeError) as error:
        raise CorruptEntryError("an entry holds no turn") from error
    if schema != _SCHEMA or owner != key:
        raise CorruptEntryError("an entry is of another schema or belongs to another key")
    if type(identity) is not int or not type(message) is type(reply) is str:
        raise CorruptEntryError("an entry holds a turn of other types")
    return Turn(id=identity, user_message=message, reply=reply)
