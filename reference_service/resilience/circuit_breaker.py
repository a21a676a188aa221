"""A circuit breaker: after a row of failures nobody asks the server, then one probe does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Final

_LOG = logging.getLogger(__name__)

FAILURES_TO_OPEN: Final = 5
"""Failures in a row; fewer would open on one slow moment of Redis."""
RESET_SECONDS: Final = 1.0
"""How long the breaker stays open before it lets a probe through."""


class BreakerState(StrEnum):
    """The three states, as in Nygard's Release It!."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitBreaker:
    """Counts failures in a row. What counts as one is for the callers to say."""

    def __init__(
        self,
        name: str,
        clock: Callable[[], float],
        *,
        failures_to_open: int = FAILURES_TO_OPEN,
        reset_seconds: float = RESET_SECONDS,
    ) -> None:
        self._name = name
        self._clock = clock
        self._failures_to_open = failures_to_open
        self._reset_seconds = reset_seconds
        self._failures = 0
        self._probe_not_before = 0.0
        self.state = BreakerState.CLOSED

    def allow(self) -> bool:
        """Whether the caller may ask now; the one that may while it is open is the probe."""
        if self.state is BreakerState.CLOSED:
            return True
        # Half open turns no second caller away for ever: a probe that was cancelled before it
        # could report leaves the door to the next one a reset interval later.
        now = self._clock()
        if now < self._probe_not_before:
            return False
        self._probe_not_before = now + self._reset_seconds
        self._become(BreakerState.HALF_OPEN)
        return True

    def succeeded(self) -> None:
        """The server answered."""
        self._failures = 0
        if self.state is not BreakerState.CLOSED:
            self._become(BreakerState.CLOSED)

    def failed(self) -> None:
        """The server refused, timed out or broke the connection."""
        self._failures += 1
        if self.state is BreakerState.HALF_OPEN or (
            self.state is BreakerState.CLOSED and self._failures >= self._failures_to_open
        ):
            self._probe_not_before = self._clock() + self._reset_seconds
            self._become(BreakerState.OPEN)

    def _become(self, state: BreakerState) -> None:
        if state is not self.state:
            _LOG.warning("Circuit breaker %s: %s -> %s", self._name, self.state.value, state.value)
            self.state = state
