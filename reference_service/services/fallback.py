"""Limits the queries of a cache while Redis is away: a few at once, the rest are refused.

A place is held for the query alone: what a lookup does besides, such as an embedding of seconds,
costs PostgreSQL nothing and must keep nobody from it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from reference_service.errors import ShedError
from reference_service.models import Memory, Preferences
from reference_service.resilience.database_gate import DatabaseGate
from reference_service.services.stages import NearestMemories, PreferencesStage
from reference_service.storage.vectors import FloatArray
from reference_service.telemetry.metrics import CacheMetrics

V = TypeVar("V")


class Fallback:
    """The gate as one cache sees it: what is shed is counted as that cache's."""

    def __init__(self, gate: DatabaseGate, metrics: CacheMetrics) -> None:
        self._gate = gate
        self._metrics = metrics

    async def run(self, query: Callable[[], Awaitable[V]]) -> V:
        """Return what the query returned; raises ShedError when there is no place for it."""
        try:
            async with self._gate.place():
                return await query()
        except ShedError:
            self._metrics.event("shed")
            raise


class GatedPreferences:
    """Preferences whose query needs a place."""

    def __init__(self, inner: PreferencesStage, fallback: Fallback) -> None:
        self._inner = inner
        self._fallback = fallback

    async def get(self, user_id: str) -> Preferences:
        """Return the preferences; defaults for a user who set none."""
        return await self._fallback.run(lambda: self._inner.get(user_id))


class GatedMemories:
    """Memories whose search needs a place."""

    def __init__(self, inner: NearestMemories, fallback: Fallback) -> None:
        self._inner = inner
        self._fallback = fallback

    async def nearest(self, user_id: str, embedding: FloatArray, count: int) -> list[Memory]:
        """Return the user's nearest memories, the nearest first."""
        return await self._fallback.run(lambda: self._inner.nearest(user_id, embedding, count))
