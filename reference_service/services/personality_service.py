"""Personalities by name: from the cache when it knows, from PostgreSQL when it does not."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from time import monotonic, perf_counter
from typing import Final
from uuid import UUID

from opentelemetry.trace import Span, Tracer

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
from reference_service.telemetry.spans import recorded

_LOG = logging.getLogger(__name__)

_HIT_LOG_SECONDS: Final = 60.0
"""Each personality's hits are logged once a minute: a line a request would cost more than the
hit."""


@dataclass(frozen=True, slots=True)
class _Load:
    """What one load for all callers brought back."""

    personality: Personality | None
    current_at: float
    """When the row is known to have been the newest, in seconds of a steady clock: when the query
    was sent, or later, when the cache took the row, for it refuses one that a write overtook."""


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
        self._fallback = fallback
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
        with recorded(self._tracer, names.PERSONALITY_LOOKUP) as span:
            span.set_attribute(names.KEY, hashed_key(name))
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
            self._metrics.lookup("bypass" if error.skipped else "error")
            _note(span, hit=False, source="fallback")
            return await self._shared(
                name, lambda: self._fallback.run(lambda: self._read(name)), None
            )
        if cached is None:
            self._metrics.lookup("miss")
            _note(span, hit=False, source="database")
            return await self._shared(name, lambda: self._read_and_fill(name), self._cache)
        self._metrics.lookup("negative" if isinstance(cached, Absent) else "hit")
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

    async def _shared(
        self,
        name: str,
        load: Callable[[], Awaitable[_Load]],
        cache: PersonalityCache | None,
    ) -> Personality | None:
        """Load once for all who ask meanwhile; nobody gets a row older than their question.

        For example, the row is at version 1, and:

            0 ms  A misses and sends the query. PostgreSQL reads version 1.
            1 ms  A PUT commits version 2 and is answered.
            2 ms  B, who knows of the PUT, misses too, and joins A's load.
            3 ms  A's load returns version 1. The cache refuses it, because of the PUT.

        A came before the PUT and may have version 1. B must not: the row is known to have been
        current at 0 ms only, and B came at 2 ms. So B asks the cache and then loads again; that
        load, its own or another caller's, began after B came, so B goes round at most twice.
        Without the PUT the cache takes the row at 3 ms: it was current then, and B may have it.
        """
        came = perf_counter()
        while True:
            landed = await self._flights.run(name, load)
            if landed.joined:
                self._metrics.event("coalesced")
            if came <= landed.value.current_at:
                return landed.value.personality
            with suppress(RedisUnavailableError):
                cached = None if cache is None else await self._cached(name, cache)
                if cached is not None:
                    return None if isinstance(cached, Absent) else cached

    async def _read(self, name: str) -> _Load:
        asked = perf_counter()
        return _Load(await self._store.get(name), current_at=asked)

    async def _read_and_fill(self, name: str) -> _Load:
        """Read the row and offer it to the cache."""
        assert self._cache is not None  # noqa: S101 - only called with a cache
        load = await self._read(name)
        offered = perf_counter()
        try:
            stored = await self._cache.fill(name, load.personality)
        except RedisUnavailableError:
            self._metrics.event("fill_failed")
            return load
        self._metrics.event("fill" if stored else "fill_refused")
        return replace(load, current_at=offered) if stored else load

    def _writing(self, name: str) -> AbstractAsyncContextManager[Write]:
        return nullcontext(Write()) if self._writes is None else self._writes.announced(name)


def _note(span: Span, *, hit: bool, source: str) -> None:
    span.set_attribute(names.CACHE_HIT, hit)
    span.set_attribute(names.CACHE_SOURCE, source)
