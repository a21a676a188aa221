"""The latest turns of a conversation: PostgreSQL is the record, Redis may hold a copy."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import orjson

from reference_service.models import Turn
from reference_service.resilience.repairs import Repairs
from reference_service.storage.redis_link import (
    DEL,
    LRANGE,
    RedisLink,
    RedisUnavailableError,
    Script,
    script,
)
from reference_service.storage.turns import TurnStore
from reference_service.telemetry.metrics import CacheMetrics

_FENCE_SECONDS: Final = 60
"""How long the latest turn's id is remembered; no copying takes that long."""

# KEYS: the list, the fence. A turn is added only where there is a list to add to.
_APPEND: Final[Script] = script("""
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
if redis.call('RPUSHX', KEYS[1], ARGV[5]) == 0 then return {0, 0, 0} end
redis.call('LTRIM', KEYS[1], -tonumber(ARGV[3]), -1)
redis.call('EXPIRE', KEYS[1], ARGV[4])
return {1, 0, 0}
""")
# A copy of what PostgreSQL had is refused when a turn has been stored since.
_COPY: Final[Script] = script("""
local fence = redis.call('GET', KEYS[2])
local hit = fence and 1 or 0
if fence and tonumber(fence) > tonumber(ARGV[1]) then return {0, hit, 1 - hit} end
redis.call('DEL', KEYS[1])
for i = 3, #ARGV do redis.call('RPUSH', KEYS[1], ARGV[i]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return {1, hit, 1 - hit}
""")


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


class RedisConversationBuffer:
    """Keeps the latest turns in a Redis list: shared by all instances, alive across restarts.

    A list begins as a copy of what PostgreSQL has and grows with each stored turn. When a turn
    could not be added, the list is deleted as soon as Redis is back, and not read until then.
    """

    def __init__(
        self,
        redis: RedisLink,
        record: StoredConversation,
        *,
        metrics: CacheMetrics,
        count: int,
        ttl_seconds: int,
    ) -> None:
        self._redis = redis
        self._record = record
        self._metrics = metrics
        self._count = count
        self._ttl_seconds = ttl_seconds
        self._repairs = Repairs()

    async def load(self, user_id: str, personality_id: UUID) -> list[Turn]:
        """Return the latest turns: from the buffer, else from PostgreSQL into the buffer."""
        key = _key(user_id, personality_id)
        try:
            turns = await self._read(key)
        except RedisUnavailableError as error:
            self._metrics.count("bypass" if error.skipped else "error")
            return await self._record.load(user_id, personality_id)
        if turns:
            self._metrics.count("hit")
            return turns
        self._metrics.count("miss")
        turns = await self._record.load(user_id, personality_id)
        if turns:
            await self._copy(key, turns)
        return turns

    async def remember(self, user_id: str, personality_id: UUID, turn: Turn) -> None:
        """Add a turn that PostgreSQL has stored."""
        key = _key(user_id, personality_id)
        if self._repairs.pending(key):
            return  # the list lacks a turn already and will be deleted
        try:
            await self._redis.run_script(
                _APPEND,
                (key, _fence(key)),
                *(turn.id, _FENCE_SECONDS, self._count, self._ttl_seconds, _entry(turn)),
            )
            self._metrics.count("fill")
        except RedisUnavailableError:
            self._metrics.count("fill_failed")
            self._repairs.add(key, lambda: self._deleted(key))

    def close(self) -> None:
        """Stop what runs in the background."""
        self._repairs.close()

    async def _read(self, key: str) -> list[Turn]:
        """Return what is buffered; nothing when it is unreadable, which is then deleted."""
        if self._repairs.pending(key):
            raise RedisUnavailableError("repair_pending")
        entries = await self._redis.run(LRANGE, key, -self._count, -1)
        try:
            return [_turn(entry) for entry in entries]
        except (ValueError, TypeError):
            self._metrics.count("corrupt")
            await self._redis.run(DEL, key)
            return []

    async def _copy(self, key: str, turns: list[Turn]) -> None:
        entries = [_entry(turn) for turn in turns]
        try:
            stored, _, _ = await self._redis.run_script(
                _COPY, (key, _fence(key)), turns[-1].id, self._ttl_seconds, *entries
            )
            self._metrics.count("fill" if stored else "fill_refused")
        except RedisUnavailableError:
            self._metrics.count("fill_failed")

    async def _deleted(self, key: str) -> bool:
        try:
            await self._redis.run(DEL, key)
        except RedisUnavailableError:
            return False
        return True


def _key(user_id: str, personality_id: UUID) -> str:
    return f"conversation:{user_id}:{personality_id}"


def _fence(key: str) -> str:
    return f"{key}:fence"


def _entry(turn: Turn) -> bytes:
    return orjson.dumps([turn.id, turn.user_message, turn.reply])


def _turn(entry: bytes) -> Turn:
    identity, message, reply = orjson.loads(entry)
    return Turn(id=identity, user_message=message, reply=reply)
