"""The counters of the library `limits`, kept in our Redis under our deadline and breaker."""

from __future__ import annotations

import time
from typing import Final

from limits.aio.storage import Storage
from typing_extensions import override

from reference_service.storage.redis_link import (
    DEL,
    GET,
    PTTL,
    RedisLink,
    RedisUnavailableError,
    script,
)

# One round trip: count, and start the window with its first request. Sliding windows would need
# two to four keyspace reads per request.
_INCREMENT: Final = script("""
local count = redis.call('INCRBY', KEYS[1], ARGV[2])
if count == tonumber(ARGV[2]) then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return {count, 0, 0}
""")


class RedisLinkStorage(Storage):
    """What a fixed window needs: count up, read, and when the window ends."""

    # The library looks its storages up by scheme; a list is what its registry asks for.
    STORAGE_SCHEME = ["redislink"]  # noqa: RUF012 - the library declares it so
    PREFIX: Final = "ratelimit"

    def __init__(self, redis: RedisLink) -> None:
        super().__init__("redislink://")
        self._redis = redis

    @property
    @override
    def base_exceptions(self) -> type[Exception]:
        return RedisUnavailableError

    @override
    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        count, _, _ = await self._redis.run_script(_INCREMENT, (self._key(key),), expiry, amount)
        return int(count)

    @override
    async def get(self, key: str) -> int:
        return int(await self._redis.run(GET, self._key(key)) or 0)

    @override
    async def get_expiry(self, key: str) -> float:
        milliseconds = int(await self._redis.run(PTTL, self._key(key)))
        return time.time() + max(0, milliseconds) / 1000

    @override
    async def check(self) -> bool:
        return True

    @override
    async def reset(self) -> int | None:
        return None

    @override
    async def clear(self, key: str) -> None:
        await self._redis.run(DEL, self._key(key))

    def _key(self, key: str) -> str:
        return f"{self.PREFIX}:{key}"
