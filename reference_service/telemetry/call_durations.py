"""`db.client.operation.duration` of one operation, failures apart from successes."""

from __future__ import annotations

from typing import Final

from reference_service.telemetry.metrics import Histogram, Labels, Registry
from reference_service.telemetry.spans import SpanShape

_SHARED: Final = (
    "db.system.name",
    "db.namespace",
    "db.operation.name",
    "db.collection.name",
    "server.address",
    "server.port",
)
"""What span and metric both say; a statement's text would be too much for a metric."""


class CallDurations:
    """The durations of one operation's calls, by how they ended; `shape` is that of its spans."""

    __slots__ = ("_failures", "_labels", "_registry", "_successes")

    def __init__(self, registry: Registry, shape: SpanShape) -> None:
        self._registry = registry
        known = ((key, shape.attributes.get(key)) for key in _SHARED)
        self._labels: Labels = tuple(
            (key, value) for key, value in known if isinstance(value, str | int)
        )
        self._successes = self._histogram(())
        self._failures: dict[tuple[str, str], Histogram] = {}

    def succeeded(self, seconds: float) -> None:
        """Record a call that was answered."""
        self._successes.record(seconds)

    def failed(self, seconds: float, error_type: str, status_code: str = "") -> None:
        """Record a call that was not; `status_code` is what the server called it, if it did."""
        found = self._failures.get((error_type, status_code))
        if found is None:
            labels: Labels = (("error.type", error_type),)
            if status_code:
                labels += (("db.response.status_code", status_code),)
            found = self._failures[error_type, status_code] = self._histogram(labels)
        found.record(seconds)

    def _histogram(self, labels: Labels) -> Histogram:
        return self._registry.histogram(
            *("db.client.operation.duration", "s", "Duration of database calls."),
            self._labels + labels,
        )
