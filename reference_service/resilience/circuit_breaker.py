"""A circuit breaker: after several failures in a row calls are refused until a probe succeeds.

The probe is not a caller's request: the owner of the connections sends it in the background, so
no caller waits for a hung server while the breaker is open.
"""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import Final

_LOG = logging.getLogger(__name__)

FAILURES_TO_OPEN: Final = 5
"""Failures in a row; fewer would open on one slow moment of Redis."""


class BreakerState(StrEnum):
    """The three states, as in Nygard's Release It!."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitBreaker:
    """Counts failures in a row. What counts as one is for the callers to say."""

    def __init__(self, name: str, *, failures_to_open: int = FAILURES_TO_OPEN) -> None:
        self._name = name
        self._failures_to_open = failures_to_open
        self._failures = 0
        self.state = BreakerState.CLOSED

    def allow(self) -> bool:
        """Whether a caller may ask now; a probe asks without asking here."""
        return self.state is BreakerState.CLOSED

    @property
    def failing(self) -> bool:
        """Whether the last answer was a failure."""
        return self._failures > 0

    def probing(self) -> None:
        """A probe is under way."""
        if self.state is BreakerState.OPEN:
            self._become(BreakerState.HALF_OPEN)

    def succeeded(self) -> None:
        """The server answered."""
        self._failures = 0
        if self.state is not BreakerState.CLOSED:
            self._become(BreakerState.CLOSED)

    def failed(self) -> None:
        """The server refused, timed out or broke the connection."""
        self._failures += 1
        if self._failures >= self._failures_to_open:
            self._become(BreakerState.OPEN)

    def _become(self, state: BreakerState) -> None:
        if state is not self.state:
            _LOG.warning("Circuit breaker %s: %s -> %s", self._name, self.state.value, state.value)
            self.state = state
