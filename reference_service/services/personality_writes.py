"""Writes of personalities and the cache invalidation before, after and in doubt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

from reference_service.resilience.repairs import Repairs
from reference_service.services.personality_cache import PersonalityCache
from reference_service.storage.redis_link import RedisUnavailableError
from reference_service.telemetry.metrics import CacheMetrics


@dataclass(slots=True)
class Write:
    """A write under way."""

    token: str = field(default_factory=lambda: uuid4().hex)
    row_version: int | None = None
    """The version it committed; None as long as it is not known whether it did."""
    running: bool = True


class PersonalityWrites:
    """Announces each write in Redis, and makes up for what Redis could not be told."""

    def __init__(self, cache: PersonalityCache, metrics: CacheMetrics) -> None:
        self._cache = cache
        self._metrics = metrics
        self._repairs = Repairs()

    def __len__(self) -> int:
        """Return for how many personalities Redis has something to hear."""
        return len(self._repairs)

    def untold(self, name: str) -> bool:
        """Whether Redis has not heard of a write: what it holds may be old."""
        return self._repairs.pending(name)

    async def close(self) -> None:
        """Try once more to tell."""
        await self._repairs.close()

    @asynccontextmanager
    async def announced(self, name: str) -> AsyncIterator[Write]:
        """Announce a write, let it run, and have caches forget what it replaced.

        Redis being away stops no write: this process then keeps off the entry until it could be
        told, the others may read the old one until then.
        """
        write = Write()
        if not await self._begin(name, write):
            self._make_up(name, write)
        try:
            yield write
        finally:
            write.running = False
            await asyncio.shield(self._ended(name, write))

    async def _begin(self, name: str, write: Write) -> bool:
        try:
            await self._cache.begin_write(name, write.token)
        except RedisUnavailableError:
            return False
        return True

    async def _ended(self, name: str, write: Write) -> None:
        if not await self._end(name, write):
            self._metrics.event("invalidation_failed")
            self._make_up(name, write)

    async def _end(self, name: str, write: Write) -> bool:
        """Tell Redis how a write ended; False when it could not be told, or there is no end yet.

        One that failed may be carried out nevertheless, and later: it is announced anew, and the
        announcement left to expire when no statement can be under way any more.
        """
        if write.running:
            return False
        if write.row_version is None:
            return await self._begin(name, write)
        try:
            await self._cache.end_write(name, write.token, write.row_version)
        except RedisUnavailableError:
            return False
        return True

    def _make_up(self, name: str, write: Write) -> None:
        self._repairs.add(name, lambda: self._end(name, write), part=write.token)
