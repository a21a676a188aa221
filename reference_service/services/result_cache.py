"""A read-through cache for values that only time makes stale: preferences, memory results."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from opentelemetry.trace import get_current_span

from reference_service.resilience.single_flight import SingleFlight
from reference_service.services.envelope import CorruptEntryError, JsonValue, open_envelope, seal
from reference_service.services.personality_cache import TTL_JITTER
from reference_service.storage.redis_link import DEL, GET, SET, RedisLink, RedisUnavailableError
from reference_service.telemetry import names
from reference_service.telemetry.metrics import CacheMetrics

V = TypeVar("V")


class ResultCache(Generic[V]):
    """Values by key: from Redis, else loaded once for all who ask, and kept for a while."""

    def __init__(
        self,
        redis: RedisLink,
        *,
        encode: Callable[[V], JsonValue],
        decode: Callable[[JsonValue], V],
        metrics: CacheMetrics,
        ttl_seconds: int,
        rng: random.Random,
    ) -> None:
        self._redis = redis
        self._encode = encode
        self._decode = decode
        self._metrics = metrics
        self._ttl_seconds = ttl_seconds
        self._rng = rng
        self._flights: SingleFlight[str, V] = SingleFlight()

    async def get(
        self, key: str, load: Callable[[], Awaitable[V]], fallback: Callable[[], Awaitable[V]]
    ) -> V:
        """Return the value of a key, from `load` when Redis does not know it.

        While Redis is away it comes from `fallback`. Raises what these two raise.
        """
        try:
            found = await self._read(key)
        except RedisUnavailableError as error:
            self._metrics.lookup("bypass" if error.skipped else "error")
            _note(hit=False, source="fallback")
            return (await self._flights.run(key, fallback)).value
        if found is not None:
            self._metrics.lookup("hit")
            _note(hit=True, source="redis")
            return found[0]
        self._metrics.lookup("miss")
        _note(hit=False, source="database")
        landed = await self._flights.run(key, lambda: self._load(key, load))
        if landed.joined:
            self._metrics.event("coalesced")
        return landed.value

    async def close(self) -> None:
        """Let running loads end."""
        await self._flights.wait()

    async def _read(self, key: str) -> tuple[V] | None:
        entry = await self._redis.run(GET, key)
        if entry is None:
            return None
        try:
            return (self._decode(open_envelope(key, entry).value),)
        except CorruptEntryError:
            self._metrics.event("corrupt")
            await self._redis.run(DEL, key)
            return None

    async def _load(self, key: str, load: Callable[[], Awaitable[V]]) -> V:
        value = await load()
        ttl = self._ttl_seconds * self._rng.uniform(1 - TTL_JITTER, 1 + TTL_JITTER)
        try:
            entry = seal(key, 0, self._encode(value))
            await self._redis.run(SET, key, entry, "EX", max(1, round(ttl)))
            self._metrics.event("fill")
        except RedisUnavailableError:
            self._metrics.event("fill_failed")
        return value


def _note(*, hit: bool, source: str) -> None:
    span = get_current_span()
    span.set_attribute(names.CACHE_HIT, hit)
    span.set_attribute(names.CACHE_SOURCE, source)
