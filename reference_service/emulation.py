"""The latency profile: the write-up's stage durations, added around storage.

Off unless `LATENCY_PROFILE=seed`. The real work is done, then topped up to a sampled duration; a
query's share is slept while its pooled connection is held, as a distant or busy database would do.
Every emulated nanosecond is marked on the span it was slept in. The model server brings its own
2-4 s.

Durations are log-normal; the two ends of the write-up's table are their 5th and 95th percentiles.
They follow from (seed, the arrival's draw, stage), so both arms of a comparison get the same ones.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from time import perf_counter
from typing import Any, Final
from uuid import UUID

from reference_service.models import Emotion, Memory, Preferences, Turn
from reference_service.request_state import REQUEST
from reference_service.services.emotion import EmotionDetector
from reference_service.services.stages import ConversationStage, MemoryStage, PreferencesStage
from reference_service.storage.database import Connection, Executor, Row, Statement
from reference_service.telemetry import load_baggage
from reference_service.telemetry.spans import mark_emulated

_Z95: Final = NormalDist().inv_cdf(0.95)


@dataclass(frozen=True, slots=True)
class Durations:
    """A log-normal distribution by its 5th and 95th percentiles, in seconds."""

    p05: float
    p95: float

    def quantile(self, normal: float) -> float:
        """Return the duration at a standard-normal deviate."""
        low, high = math.log(self.p05), math.log(self.p95)
        return math.exp((low + high) / 2 + (high - low) / (2 * _Z95) * normal)


QUERIES: Final = {
    "personalities": Durations(0.005, 0.010),
    "preferences": Durations(0.003, 0.005),
    "memories": Durations(0.020, 0.050),
}
"""How long a query holds its connection. The write-up gives the first two; of memory retrieval it
gives only the whole, 200-500 ms, of which a tenth is taken to be the query and the rest the
embedding and what a vector search does outside of PostgreSQL."""

STAGES: Final = {
    "preferences": Durations(0.050, 0.100),
    "memory": Durations(0.200, 0.500),
    "emotion": Durations(0.100, 0.300),
    "other": Durations(0.100, 0.200),
}
"""How long a whole stage takes. `other` is halved between loading and appending the
conversation."""


class Sampler:
    """Draws durations that depend on the seed, the request's draw and the stage only."""

    def __init__(self, seed: int, fallback: Callable[[], int]) -> None:
        self._seed = seed
        self._fallback = fallback
        """Gives the draw of a request that brings none."""

    def seconds(self, durations: Durations, stage: str) -> float:
        """Return the duration of a stage in the running request."""
        draw = load_baggage.draw()
        if draw is None:
            draw = self._fallback()
        digest = hashlib.blake2b(f"{self._seed}:{draw}:{stage}".encode(), digest_size=8).digest()
        uniform = (int.from_bytes(digest) + 0.5) / 2**64
        return durations.quantile(NormalDist().inv_cdf(uniform))


async def _top_up(seconds: float, began: float) -> None:
    """Sleep until `seconds` have passed since `began`; mark on the span how long that was."""
    before = perf_counter()
    left = seconds - (before - began)
    if left <= 0:
        return
    await asyncio.sleep(left)
    mark_emulated(perf_counter() - before)


class EmulatedExecutor:
    """Holds a query's connection for as long as the write-up's database needed."""

    def __init__(self, inner: Executor, sampler: Sampler) -> None:
        self._inner = inner
        self._sampler = sampler

    async def execute(
        self, connection: Connection, statement: Statement, parameters: Sequence[Any]
    ) -> list[Row]:
        """Run the statement, then keep the connection until its time is over."""
        began = perf_counter()
        rows = await self._inner.execute(connection, statement, parameters)
        durations = QUERIES.get(statement.collection)
        if durations is not None and statement.operation == "SELECT":
            request = REQUEST.get()
            if request is not None:
                request.emulated_queries.add(statement.collection)
            seconds = self._sampler.seconds(durations, f"query:{statement.collection}")
            await _top_up(seconds, began)
        return rows


class EmulatedPreferences:
    """Tops the stage up; without a query, by the query's share less."""

    def __init__(self, inner: PreferencesStage, sampler: Sampler) -> None:
        self._inner = inner
        self._sampler = sampler

    async def get(self, user_id: str) -> Preferences:
        """Return the preferences when their time is over."""
        began = perf_counter()
        found = await self._inner.get(user_id)
        seconds = self._sampler.seconds(STAGES["preferences"], "preferences")
        request = REQUEST.get()
        if request is not None and "preferences" not in request.emulated_queries:
            seconds -= self._sampler.seconds(QUERIES["preferences"], "query:preferences")
        await _top_up(seconds, began)
        return found


class EmulatedMemories:
    """Tops the retrieval up; a cache of results stands in front of it and saves all of it."""

    def __init__(self, inner: MemoryStage, sampler: Sampler) -> None:
        self._inner = inner
        self._sampler = sampler

    async def retrieve(self, user_id: str, message: str) -> list[Memory]:
        """Return the memories when their time is over."""
        began = perf_counter()
        found = await self._inner.retrieve(user_id, message)
        await _top_up(self._sampler.seconds(STAGES["memory"], "memory"), began)
        return found


class EmulatedEmotions:
    """Tops the detection up to what a model would take."""

    def __init__(self, inner: EmotionDetector, sampler: Sampler) -> None:
        self._inner = inner
        self._sampler = sampler

    async def detect(self, message: str) -> Emotion:
        """Return the emotion when its time is over."""
        began = perf_counter()
        found = await self._inner.detect(message)
        await _top_up(self._sampler.seconds(STAGES["emotion"], "emotion"), began)
        return found


class EmulatedConversation:
    """Spreads what the write-up calls other operations over loading and remembering."""

    def __init__(self, inner: ConversationStage, sampler: Sampler) -> None:
        self._inner = inner
        self._sampler = sampler

    async def load(self, user_id: str, personality_id: UUID) -> list[Turn]:
        """Return the latest turns when half of the time is over."""
        began = perf_counter()
        found = await self._inner.load(user_id, personality_id)
        await self._half(began)
        return found

    async def remember(self, user_id: str, personality_id: UUID, turn: Turn) -> None:
        """Take note of the turn, and return when the other half is over."""
        began = perf_counter()
        await self._inner.remember(user_id, personality_id, turn)
        await self._half(began)

    async def forget(self, user_id: str, personality_id: UUID) -> None:
        """Pass it on; the write-up knows no such operation."""
        await self._inner.forget(user_id, personality_id)

    async def _half(self, began: float) -> None:
        seconds = self._sampler.seconds(STAGES["other"], "other") / 2
        await _top_up(seconds, began)
