"""What a request remembers while it runs."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(slots=True)
class RequestState:
    """One request's outcome so far."""

    failure: str = ""
    """What ended an answer that had begun with status 200: an error's class."""
    redis_failed: bool = False
    """Whether Redis failed this request once: it then waits for Redis no second time."""
    emulated_queries: set[str] = field(default_factory=set)
    """The tables whose query was slowed down for this request."""


REQUEST: ContextVar[RequestState | None] = ContextVar("reference_service_request", default=None)
"""The request that the running task works for; none at start-up and in background tasks."""
