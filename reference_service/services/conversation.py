"""The latest turns of a conversation: PostgreSQL is the record, Redis may hold a copy."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import orjson

from reference_service.models import Turn
from reference_service.storage.redis_link import (
    LRANGE,
    RedisLink,
    RedisUnavailableError,
    Script,
    script,
)
from reference_service.storage.turns import TurnStore
from reference_service.telemetry.metrics import CacheMetrics

# KEYS: the list. ARGV: turns kept, seconds, how (append: only if there is a list to append to),
# then the turns.
_WRITE: Final[Script] = script("""
if ARGV[3] == 'append' then
  if redis.call('RPUSHX', KEYS[1], ARGV[4]) == 0 then return {0, 0, 0} end
else
  redis.call('DEL', KEYS[1])
  for i = 4, #ARGV do redis.call('RPUSH', KEYS[1], ARGV[i]) end
end
redis.call('LTRIM', KEYS[1], -tonumber(ARGV[1]), -1)
redis.call('EXPIRE', KEYS[1], ARGV[2])
return {1, 0, 0}
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
    could not be added the list is deleted, so that it never lacks one in the middle.
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

    async def load(self, user_id: str, personality_id: UUID) -> list[Turn]:
        """Return the latest turns: from the buffer, else from PostgreSQL into the buffer."""
        key = _key(user_id, personality_id)
        try:
            entries = await self._redis.run(LRANGE, key, -self._count, -1)
            turns = [_turn(entry) for entry in entries]
        except RedisUnavailableError as error:
            self._metrics.count("bypass" if error.skipped else "error")
            return await self._record.load(user_id, personality_id)
        except (ValueError, TypeError):
            self._metrics.count("corrupt")
            turns = []
        if turns:
            self._metrics.count("hit")
            return turns
        self._metrics.count("miss")
        turns = await self._record.load(user_id, personality_id)
        if turns:
            await self._write(key, "replace", turns)
        return turns

    async def remember(self, user_id: str, personality_id: UUID, turn: Turn) -> None:
        """Add a turn that PostgreSQL has stored."""
        await self._write(_key(user_id, personality_id), "append", [turn])

    async def _write(self, key: str, how: str, turns: list[Turn]) -> None:
        entries = [orjson.dumps([turn.user_message, turn.reply]) for turn in turns]
        try:
            await self._redis.run_script(
                _WRITE, (key,), self._count, self._ttl_seconds, how, *entries
            )
            self._metrics.count("fill")
        except RedisUnavailableError:
            self._metrics.count("fill_failed")


def _key(user_id: str, personality_id: UUID) -> str:
    return f"conversation:{user_id}:{personality_id}"


def _turn(entry: bytes) -> Turn:
    message, reply = orjson.loads(entry)
    return Turn(user_message=message, reply=reply)
