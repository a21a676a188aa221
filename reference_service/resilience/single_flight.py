"""One load shared by all concurrent callers of the same key, whichever of them gives up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Landed(Generic[V]):
    """What a flight brought back."""

    value: V
    joined: bool
    """Whether the caller came along on somebody else's flight."""


class SingleFlight(Generic[K, V]):
    """Shares running loads by key within a process.

    The load runs in a task of its own, so a caller that is cancelled leaves the others untouched,
    and a load whose callers have all left still ends and fills the cache. Its exception reaches
    every caller.
    """

    def __init__(self) -> None:
        self._flights: dict[K, asyncio.Task[V]] = {}

    async def run(self, key: K, load: Callable[[], Awaitable[V]]) -> Landed[V]:
        """Return what `load` returned, called by this caller or by one that came before."""
        flight = self._flights.get(key)
        # One that has ended, and is only not yet cleared away, brings nothing new.
        joined = flight is not None and not flight.done()
        if flight is None or flight.done():
            flight = asyncio.get_running_loop().create_task(self._fly(load))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
        return Landed(await asyncio.shield(flight), joined)

    @property
    def in_flight(self) -> int:
        """Return how many loads run."""
        return len(self._flights)

    async def wait(self) -> None:
        """Wait until every running load has ended."""
        if self._flights:
            await asyncio.wait(tuple(self._flights.values()))

    @staticmethod
    async def _fly(load: Callable[[], Awaitable[V]]) -> V:
        return await load()

    def _landed(self, key: K, flight: asyncio.Task[V]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.cancelled():
            # Seen here, for every caller may have left: asyncio complains about errors never seen.
            flight.exception()
