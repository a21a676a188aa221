"""Counters, gauges and histograms of the service, cheap enough to be always on.

Names follow OpenTelemetry's semantic conventions. `GET /metrics` shows them as Prometheus text;
with an OTLP endpoint they are pushed too (`telemetry/metric_export.py`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

Labels = tuple[tuple[str, str | int], ...]

BUCKETS: Final = {
    "http.server.request.duration": (
        0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    ),
    "gen_ai.client.operation.duration": (
        0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
    ),
    "gen_ai.client.token.usage": (
        1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0,
        4194304.0, 16777216.0, 67108864.0,
    ),
}  # fmt: skip
"""The conventions' advice by metric: upper bounds, each of which belongs to its bucket."""
_OTHER_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
"""Their advice for db.client.operation.duration, and for what else takes that long: waiting for a
connection, holding it, filling a cache."""


@dataclass(slots=True)
class Counter:
    """A number that only grows."""

    value: float = 0.0

    def add(self, amount: float = 1.0) -> None:
        """Add a non-negative amount."""
        self.value += amount


@dataclass(slots=True)
class Histogram:
    """A distribution in fixed buckets; `counts` has one more element than `bounds`."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def record(self, value: float) -> None:
        """Record one value; a bucket's upper bound belongs to it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One metric's name, unit and meaning, and its series by labels."""

    name: str
    unit: str
    description: str
    kind: str
    """counter, updowncounter, gauge or histogram."""
    bounds: tuple[float, ...] = ()
    series: dict[Labels, Counter | Histogram] = field(default_factory=dict)
    read: Callable[[], Iterator[tuple[Labels, float]]] | None = None
    """For one of the first three that is read when asked for."""


class Registry:
    """All instruments of a process."""

    def __init__(self) -> None:
        self.instruments: dict[str, Instrument] = {}

    def counter(self, name: str, unit: str, description: str, labels: Labels = ()) -> Counter:
        """Return the counter of this name and these labels, made at the first call."""
        instrument = self._instrument(name, unit, description, "counter")
        made = instrument.series.setdefault(labels, Counter())
        if not isinstance(made, Counter):
            raise TypeError(f"{name} is a histogram; a counter was asked for")
        return made

    def histogram(self, name: str, unit: str, description: str, labels: Labels = ()) -> Histogram:
        """Return the histogram of this name and these labels, made at the first call."""
        bounds = BUCKETS.get(name, _OTHER_BUCKETS)
        instrument = self._instrument(name, unit, description, "histogram", bounds)
        made = instrument.series.get(labels)
        if made is None:
            made = instrument.series[labels] = Histogram(bounds)
        if not isinstance(made, Histogram):
            raise TypeError(f"{name} is a counter; a histogram was asked for")
        return made

    def observe(
        self,
        name: str,
        unit: str,
        description: str,
        read: Callable[[], Iterator[tuple[Labels, float]]],
        *,
        kind: str = "gauge",
    ) -> None:
        """Add a metric that is read when it is asked for."""
        self.instruments[name] = Instrument(
            name=name, unit=unit, description=description, kind=kind, read=read
        )

    def _instrument(
        self, name: str, unit: str, description: str, kind: str, bounds: tuple[float, ...] = ()
    ) -> Instrument:
        found = self.instruments.get(name)
        if found is None:
            found = self.instruments[name] = Instrument(
                name=name, unit=unit, description=description, kind=kind, bounds=bounds
            )
        return found


class CacheMetrics:
    """How one cache's lookups ended."""

    def __init__(self, registry: Registry, cache: str) -> None:
        self._counters = {
            outcome: registry.counter(
                "chat.cache.lookups", "{lookup}", "Lookups by cache and outcome.",
                (("cache", cache), ("outcome", outcome)),
            )
            for outcome in ("hit", "negative", "miss", "bypass", "error")
        }  # fmt: skip
        self._counters |= {
            event: registry.counter(
                "chat.cache.events", "{event}", "What happened beside the lookups.",
                (("cache", cache), ("event", event)),
            )
            for event in ("corrupt", "coalesced", "fill", "fill_refused", "fill_failed",
            "invalidation_failed", "shed")
        }  # fmt: skip
        self._fill = registry.histogram(
            "chat.cache.fill.duration", "s", "Time from a miss to the value.", (("cache", cache),)
        )

    def count(self, outcome: str) -> None:
        """Count one lookup or event by its name."""
        self._counters[outcome].add()

    def filled(self, seconds: float) -> None:
        """Record how long a miss took to load."""
        self._fill.record(seconds)
