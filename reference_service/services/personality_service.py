"""Personalities by name: from the cache when it knows, from PostgreSQL when it does not."""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Final
from uuid import UUID

from reference_service.errors import PersonalityNotFoundError
from reference_service.models import Personality, PersonalityConfig
from reference_service.resilience.single_flight import SingleFlight
from reference_service.services.fallback import Fallback
from reference_service.services.personality_cache import Absent, PersonalityCache
from reference_service.services.personality_writes import PersonalityWrites, Write
from reference_service.storage.personalities import PersonalityStore
from reference_service.storage.redis_link import RedisUnavailableError
from reference_service.telemetry import names
from reference_service.telemetry.keys import hashed_key
from reference_service.telemetry.log_limit import LogLimit
from reference_service.telemetry.metrics import CacheMetrics
from reference_service.telemetry.spans import Span, Tracer

_LOG = logging.getLogger(__name__)

_MISS_ROUNDS: Final = 3
"""Loads that writes may overtake before a lookup asks PostgreSQL by itself."""
_HIT_LOG_SECONDS: Final = 60.0
"""Each personality's hits are logged once a minute: a line a request would cost more than the
hit."""


@dataclass(frozen=True, slots=True)
class _Load:
    """What one load for all callers brought back."""

    personality: Personality | None
    asked: float
    """When the query was sent, in seconds of a steady clock: the row is at least as new."""
    fill_began: float
    """When the row was read and its way into the cache began."""
    stored: bool
    """Whether the cache took it; if not, a write came in between, or Redis failed."""
    redis_failed: bool
    """Whether Redis failed; who waited for that once does not ask it again."""


class PersonalityService:
    """`get_personality_id`, `get_personality`, and the writes that keep both true."""

    def __init__(
        self,
        store: PersonalityStore,
        cache: PersonalityCache | None,
        *,
        fallback: Fallback,
        metrics: CacheMetrics,
        tracer: Tracer,
    ) -> None:
        self._store = store
        self._cache = cache
        self._fallback_gate = fallback
        self._metrics = metrics
        self._tracer = tracer
        self._flights: SingleFlight[str, _Load] = SingleFlight()
        self._hits_told = LogLimit(_HIT_LOG_SECONDS, monotonic)
        self._writes = None if cache is None else PersonalityWrites(cache, metrics)

    @property
    def cache(self) -> PersonalityCache | None:
        """Return the cache; None when Redis is not enabled."""
        return self._cache

    @property
    def invalidations_pending(self) -> int:
        """Return how many invalidations wait for Redis to come back."""
        return 0 if self._writes is None else len(self._writes)

    async def get_personality_id(self, name: str) -> UUID:
        """Return the id; raises PersonalityNotFoundError."""
        return (await self.get_personality(name)).id

    async def get_personality(self, name: str) -> Personality:
        """Return the personality; raises PersonalityNotFoundError."""
        with self._tracer.span(names.PERSONALITY_LOOKUP) as span:
            span.set(names.KEY, hashed_key(name))
            personality = await self._lookup(name, span)
        if personality is None:
            raise PersonalityNotFoundError
        return personality

    async def put(self, name: str, config: PersonalityConfig) -> Personality:
        """Create or replace a personality; no read that begins after the commit sees the old."""
        async with self._writing(name) as write:
            personality = await self._store.put(name, config)
            write.row_version = personality.row_version
        return personality

    async def delete(self, name: str) -> None:
        """Delete a personality; raises PersonalityNotFoundError when there is none."""
        async with self._writing(name) as write:
            version = await self._store.delete(name)
            write.row_version = version or 0
        if version is None:
            raise PersonalityNotFoundError

    async def prewarm(self, count: int) -> int:
        """Fill the cache with the first `count` personalities; return how many it took."""
        if self._cache is None or count == 0:
            return 0
        taken = 0
        for personality in await self._store.first(count):
            try:
                taken += await self._cache.fill(personality.name, personality)
            except RedisUnavailableError:
                break
        return taken

    async def close(self) -> None:
        """Let running loads end; tell Redis of the last writes."""
        await self._flights.wait()
        if self._writes is not None:
            await self._writes.close()

    async def _lookup(self, name: str, span: Span) -> Personality | None:
        if self._cache is None:
            _note(span, hit=False, source="database")
            return await self._store.get(name)
        try:
            cached = await self._cached(name, self._cache)
        except RedisUnavailableError as error:
            self._metrics.count("bypass" if error.skipped else "error")
            _note(span, hit=False, source="fallback")
            return await self._fallback(name)
        if cached is None:
            self._metrics.count("miss")
            _note(span, hit=False, source="database")
            return await self._miss(name, self._cache)
        self._metrics.count("negative" if isinstance(cached, Absent) else "hit")
        _note(span, hit=True, source="redis")
        if isinstance(cached, Absent):
            return None
        if self._hits_told.may(name):
            _LOG.info("✅ Cache hit for personality '%s'", name)
        return cached

    async def _cached(self, name: str, cache: PersonalityCache) -> Personality | Absent | None:
        if self._writes is not None and self._writes.untold(name):
            raise RedisUnavailableError("repair_pending")
        return await cache.get(name)

    async def _miss(self, name: str, cache: PersonalityCache) -> Personality | None:
        """Load for all who miss at once; a caller who came after a commit gets nothing older."""
        for _ in range(_MISS_ROUNDS):
            came = perf_counter()
            landed = await self._flights.run(name, lambda: self._load(name))
            load = landed.value
            if not landed.joined:
                return load.personality
            self._metrics.count("coalesced")
            if came <= load.asked or (load.stored and came <= load.fill_began):
                return load.personality
            if load.redis_failed:
                return await self._fallback(name)
            # Joined a load that a write may have overtaken: its row was read before we came, so it
            # may be older than what was committed before we came. The cache knows, or the next
            # load.
            try:
                cached = await self._cached(name, cache)
            except RedisUnavailableError:
                return await self._fallback(name)
            if cached is not None:
                return None if isinstance(cached, Absent) else cached
        return await self._store.get(name)

    async def _load(self, name: str) -> _Load:
        """Read the row and offer it to the cache."""
        assert self._cache is not None  # noqa: S101 - only called with a cache
        began = perf_counter()
        personality = await self._store.get(name)
        fill_began = perf_counter()
        stored = redis_failed = False
        try:
            stored = await self._cache.fill(name, personality)
            self._metrics.count("fill" if stored else "fill_refused")
        except RedisUnavailableError:
            redis_failed = True
            self._metrics.count("fill_failed")
        self._metrics.filled(perf_counter() - began)
        return _Load(personality, began, fill_began, stored=stored, redis_failed=redis_failed)

    async def _fallback(self, name: str) -> Personality | None:
        """Read without the cache, with few others at a time.

        A query that was sent before this caller came may have missed a commit that the caller
        knows of; such a one is waited for, and the next one counts.
        """
        came = perf_counter()
        while True:
            load = (await self._flights.run(name, lambda: self._gated(name))).value
            if came <= load.asked:
                return load.personality

    async def _gated(self, name: str) -> _Load:
        async def query() -> _Load:
            asked = perf_counter()
            row = await self._store.get(name)
            return _Load(row, asked, asked, stored=False, redis_failed=True)

        return await self._fallback_gate.run(query)

    def _writing(self, name: str) -> AbstractAsyncContextManager[Write]:
        return nullcontext(Write()) if self._writes is None else self._writes.announced(name)


def _note(span: Span, *, hit: bool, source: str) -> None:
    span.set(names.CACHE_HIT, hit)
    span.set(names.CACHE_SOURCE, source)
