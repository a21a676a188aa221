"""Start and stop of a process: warm the caches first, lose nothing at the end."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final, TypeVar

from reference_service.composition import Service
from reference_service.errors import ServiceError
from reference_service.storage.redis_link import RedisUnavailableError
from reference_service.storage.schema_check import SchemaCheck

_LOG = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 0.5
_COLLECT_AFTER: Final = (20_000, 20, 50)
"""Thresholds of the garbage collector: a request leaves next to no cycles, and with hundreds in
flight Python's own (700, 10, 10) looks at all they hold again and again: 5 to 9 % of the CPU."""

T = TypeVar("T")


class Startup(StrEnum):
    """How far start-up has come."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Lifecycle:
    """Starts a service's parts, says when it is ready, and stops them in the reverse order."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._schema = SchemaCheck(service.database)
        self._starting: asyncio.Task[None] | None = None
        self.startup = Startup.RUNNING
        """Done when the tables are there and the caches are warm."""

    async def start(self) -> None:
        """Start; the process serves at once, and is ready when the caches are warm."""
        # What is there now stays: the collector need not look at it with every full round.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECT_AFTER)
        await self._service.database.open()
        self._starting = asyncio.create_task(self._warm_up())
        self._starting.add_done_callback(self._note)

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
        await asyncio.to_thread(self._service.telemetry.shutdown)

    async def _warm_up(self) -> None:
        settings = self._service.settings
        await self._open_redis()
        await self._until_answered(self._schema.verify)
        if settings.personality_prewarm:
            prewarm = self._service.personalities.prewarm
            taken = await self._until_answered(lambda: prewarm(settings.personality_prewarm))
            _LOG.info("PersonalityCache: warmed with %d personalities", taken)

    async def _open_redis(self) -> None:
        if self._service.redis is None:
            return
        try:
            await self._service.redis.open()
        except RedisUnavailableError as error:
            _LOG.warning("PersonalityCache: Redis does not answer (%s); going on without", error)
        else:
            if self._service.settings.redis_enabled:
                _LOG.info("✅ PersonalityCache: Connected to Redis")

    @staticmethod
    async def _until_answered(ask: Callable[[], Awaitable[T]]) -> T:
        """Return what `ask` returns, as soon as PostgreSQL lets it; say once why it does not."""
        said = ""
        while True:
            try:
                return await ask()
            except ServiceError as error:
                if str(error) != said:
                    said = str(error)
                    _LOG.warning("Start-up waits: %s (%s)", error.code, said)
                await asyncio.sleep(_RETRY_SECONDS)

    def _note(self, starting: asyncio.Task[None]) -> None:
        if starting.cancelled():
            return
        error = starting.exception()
        self.startup = Startup.DONE if error is None else Startup.FAILED
        if error is not None:
            _LOG.critical("Start-up failed; the service is not ready", exc_info=error)
