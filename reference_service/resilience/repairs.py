"""What could not be deleted while Redis was away, and is made up for as soon as it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Final

_RETRY_SECONDS: Final = 0.25
"""Between two rounds; in one of them the breaker's probe finds Redis back."""

Repair = Callable[[], Awaitable[bool]]
"""Tries once; True when it is done."""


class Repairs:
    """Repairs by key, tried until they succeed; readers ask `pending` and keep off those keys.

    They are lost with the process: what is cached then stays wrong until its TTL at most.
    """

    def __init__(self) -> None:
        self._repairs: dict[str, Repair] = {}
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Return how many keys wait."""
        return len(self._repairs)

    def pending(self, key: str) -> bool:
        """Whether a key's cached value may be wrong."""
        return key in self._repairs

    def add(self, key: str, repair: Repair) -> None:
        """Note a repair; a later one for the same key replaces it."""
        self._repairs[key] = repair
        if self._task is None or self._task.done():
            # In a context of its own: it works for no request, least of all for that one.
            self._task = asyncio.create_task(self._run(), context=Context())

    def close(self) -> None:
        """Stop trying."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while self._repairs:
            await asyncio.sleep(_RETRY_SECONDS)
            for key, repair in tuple(self._repairs.items()):
                if not await repair():
                    break
                if self._repairs.get(key) is repair:
                    del self._repairs[key]
