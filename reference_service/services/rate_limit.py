"""Limits a user's chats per minute, counted across all instances."""

from __future__ import annotations

import math
import time
from typing import Final

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter

from reference_service.errors import RateLimitedError
from reference_service.storage.rate_limit_storage import RedisLinkStorage
from reference_service.storage.redis_link import RedisUnavailableError
from reference_service.telemetry.metrics import Registry

_SCOPE: Final = "chat"


class RateLimiter:
    """A fixed window per user; while Redis is away each process counts for itself."""

    def __init__(self, storage: RedisLinkStorage, *, per_minute: int, registry: Registry) -> None:
        self._limit = RateLimitItemPerMinute(per_minute)
        self._shared = FixedWindowRateLimiter(storage)
        self._local = FixedWindowRateLimiter(MemoryStorage())
        self._refused = registry.counter(
            "chat.rate_limit.refused", "{request}", "Chats refused by the rate limit."
        )
        self._alone = registry.counter(
            "chat.rate_limit.local", "{request}", "Chats counted by this process alone."
        )

    async def check(self, user_id: str) -> None:
        """Count a chat; raises RateLimitedError when the user has had enough for now."""
        try:
            await self._check(self._shared, user_id)
        except RedisUnavailableError:
            self._alone.add()
            await self._check(self._local, user_id)

    async def _check(self, limiter: FixedWindowRateLimiter, user_id: str) -> None:
        if await limiter.hit(self._limit, _SCOPE, user_id):
            return
        self._refused.add()
        window = await limiter.get_window_stats(self._limit, _SCOPE, user_id)
        wait_seconds = max(1, math.ceil(window.reset_time - time.time()))
        raise RateLimitedError("limit reached", retry_after_seconds=wait_seconds)
