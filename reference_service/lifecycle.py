"""Start and stop of a process: warm caches at first, nothing lost at last."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Final

from reference_service.composition import Service
from reference_service.errors import ServiceError
from reference_service.storage.redis_link import RedisUnavailableError

_LOG = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 0.5
_COLLECT_AFTER: Final = (20_000, 20, 50)
"""Thresholds of the garbage collector: a request leaves next to no cycles, and with hundreds in
flight Python's own (700, 10, 10) looks at all they hold again and again: 5 to 9 % of the CPU."""


class Lifecycle:
    """Starts a service's parts, says when it is ready, and stops them in the reverse order."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._starting: asyncio.Task[None] | None = None

    @property
    def started(self) -> bool:
        """Whether start-up, pre-warming included, is over."""
        return self._starting is not None and self._starting.done()

    async def start(self) -> None:
        """Start; the process serves at once, and is ready when the caches are warm."""
        # What is there now stays: the collector need not look at it with every full round.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECT_AFTER)
        self._service.outlet.start()
        await self._service.database.open()
        self._starting = asyncio.create_task(self._warm_up())

    async def stop(self) -> None:
        """Stop; requests in flight have ended already. Spans go last, for stopping makes some."""
        if self._starting is not None:
            self._starting.cancel()
        await self._service.personalities.close()
        for cache in self._service.caches:
            await cache.close()
        if self._service.buffer is not None:
            await self._service.buffer.close()
        await self._service.models.close()
        if self._service.redis is not None:
            await self._service.redis.close()
        await self._service.database.close()
        await asyncio.to_thread(self._service.outlet.stop)

    async def _warm_up(self) -> None:
        settings = self._service.settings
        if self._service.redis is not None:
            try:
                await self._service.redis.open()
                if settings.redis_enabled:
                    _LOG.info("✅ PersonalityCache: Connected to Redis")
            except RedisUnavailableError as error:
                _LOG.warning(
                    "PersonalityCache: Redis does not answer (%s); going on without", error
                )
        if not settings.personality_prewarm:
            return
        while True:
            try:
                taken = await self._service.personalities.prewarm(settings.personality_prewarm)
            except ServiceError:
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                _LOG.info("PersonalityCache: warmed with %d personalities", taken)
                return
