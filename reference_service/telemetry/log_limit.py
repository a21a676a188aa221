"""Log lines that every request could cause, limited to one per interval."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_KEYS_KEPT: Final = 1000
"""Beyond these the memory of what was said is dropped; a line may then come early."""


class LogLimit:
    """Says whether a key's line is due."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._due: dict[str, float] = {}

    def may(self, key: str) -> bool:
        """Return True the first time, and then once each interval."""
        now = self._clock()
        if now < self._due.get(key, now):
            return False
        if len(self._due) >= _KEYS_KEPT:
            self._due.clear()
        self._due[key] = now + self._seconds
        return True
