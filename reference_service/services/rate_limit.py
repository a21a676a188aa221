"""Limits a user's chats per minute, counted across all instances."""

from __future__ import annotations

import math
import time
from typing import Final

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter

from reference_service.errors import RateLimitedError
from reference_service.storage.redis_link import EVALSHA, TTL, RedisLink, RedisUnavailableError
from reference_service.telemetry.metrics import Instruments

_SCOPE: Final = "chat"


class RateLimiter:
    """A fixed window per user; while Redis is away each process counts for itself."""

    def __init__(self, redis: RedisLink, *, per_minute: int, instruments: Instruments) -> None:
        self._redis = redis
        self._limit = RateLimitItemPerMinute(per_minute)
        # On the link's own connections: asked through the link, so under its deadline and breaker.
        self._shared = RedisStorage(
            "async+redis://",
            implementation="redispy",
            connection_pool=redis.pool,  # type: ignore[arg-type]  # their annotation forgets the pool
        )
        self._local = MemoryStorage()
        self._instruments = instruments

    async def check(self, user_id: str) -> None:
        """Count a chat; raises RateLimitedError when the user has had enough for now."""
        key = self._limit.key_for(_SCOPE, user_id)
        try:
            # A fixed window's hit is one script, and when it ends one TTL.
            if await self._redis.ask(EVALSHA, lambda: self._hit(self._shared, user_id)):
                return
            ends = await self._redis.ask(TTL, lambda: self._shared.get_expiry(key))
        except RedisUnavailableError:
            self._instruments.rate_limited_locally.add(1)
            if await self._hit(self._local, user_id):
                return
            ends = await self._local.get_expiry(key)
        self._instruments.rate_limited.add(1)
        wait_seconds = max(1, math.ceil(ends - time.time()))
        raise RateLimitedError("limit reached", retry_after_seconds=wait_seconds)

    async def _hit(self, storage: Storage, user_id: str) -> bool:
        return await FixedWindowRateLimiter(storage).hit(self._limit, _SCOPE, user_id)
