"""Limits how many cached lookups go to PostgreSQL at once while Redis is away.

At a hit rate of 95 % losing the cache multiplies the load on PostgreSQL by twenty. Letting all of
it through would only move the outage; so a few places, a short queue, and a clear 503 for the
rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from reference_service.errors import ShedError
from reference_service.resilience.deadline import deadline


class DatabaseGate:
    """A bounded number of places with a bounded queue before them."""

    def __init__(self, *, places: int, max_waiting: int, wait_seconds: float) -> None:
        self._places = asyncio.Semaphore(places)
        self._max_waiting = max_waiting
        self._wait_seconds = wait_seconds
        self._waiting = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place; raises ShedError when the queue is full or the wait too long."""
        if self._places.locked():
            if self._waiting >= self._max_waiting:
                raise ShedError("the queue for the database is full")
            self._waiting += 1
            try:
                async with deadline(self._wait_seconds):
                    await self._places.acquire()
            except TimeoutError:
                raise ShedError("no place at the database in time") from None
            finally:
                self._waiting -= 1
        else:
            await self._places.acquire()
        try:
            yield
        finally:
            self._places.release()
