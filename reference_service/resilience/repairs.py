"""Cache deletions that failed while Redis was away, repeated as soon as it is back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextvars import Context
from typing import Final

_LOG = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 0.25
"""Between two rounds; in one of them the breaker's probe finds Redis back."""

Repair = Callable[[], Awaitable[bool]]
"""Tries once; True when it is done."""


class Repairs:
    """Repairs by key, tried until they succeed; readers ask `pending` and keep off those keys.

    They are lost with a process that is killed: what is cached then stays wrong until its TTL at
    most.
    """

    def __init__(self) -> None:
        self._repairs: dict[str, dict[str, Repair]] = {}
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Return how many keys wait."""
        return len(self._repairs)

    def pending(self, key: str) -> bool:
        """Whether a key's cached value may be wrong."""
        return key in self._repairs

    def add(self, key: str, repair: Repair, part: str = "") -> None:
        """Note a repair; a later one for the same part of the same key replaces it.

        One that is just being tried does not stand for one that replaces it meanwhile.
        """
        self._repairs.setdefault(key, {})[part] = repair
        if self._task is None or self._task.done():
            # In a context of its own: it works for no request, least of all for that one.
            self._task = asyncio.create_task(self._run(), context=Context())

    async def close(self) -> None:
        """Try each once more, and no longer."""
        if self._task is not None:
            self._task.cancel()
        await self._round()
        if self._repairs:
            _LOG.warning("%d cached entries may be stale until they expire", len(self._repairs))

    async def _run(self) -> None:
        while self._repairs:
            await asyncio.sleep(_RETRY_SECONDS)
            await self._round()

    async def _round(self) -> None:
        """Try each once.

        One may fail for reasons of its own; when it is for Redis's, the breaker makes it cheap to
        try the others.
        """
        for key, part, repair in tuple(self._all()):
            if await repair():
                self._done(key, part, repair)

    def _all(self) -> Iterator[tuple[str, str, Repair]]:
        for key, parts in self._repairs.items():
            for part, repair in parts.items():
                yield key, part, repair

    def _done(self, key: str, part: str, repair: Repair) -> None:
        parts = self._repairs.get(key, {})
        if parts.get(part) is repair:
            del parts[part]
            if not parts:
                del self._repairs[key]
