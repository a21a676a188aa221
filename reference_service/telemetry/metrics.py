"""The service's instruments: each metric's name, unit and buckets stand here once.

Names are those of the semantic conventions 1.44 where they have one; the GenAI conventions are
still moving. What spans say already (waits for a connection, each Redis command, tokens) is not
measured a second time: a recording costs 11 us, 15 where it is pushed, too.
"""

from __future__ import annotations

from typing import Final

from opentelemetry.metrics import Meter

# The boundaries that the conventions advise.
_REQUEST: Final = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
_DATABASE: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
_MODEL: Final = tuple(0.01 * 2**power for power in range(14))


class Instruments:
    """All instruments of a process."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        """For what is only read when somebody asks: the state of pool, breaker and limit."""
        self.request_duration = meter.create_histogram(
            "http.server.request.duration", "s", "Duration of HTTP server requests.",
            explicit_bucket_boundaries_advisory=_REQUEST,
        )  # fmt: skip
        self.database_duration = meter.create_histogram(
            "db.client.operation.duration", "s", "Duration of database calls.",
            explicit_bucket_boundaries_advisory=_DATABASE,
        )  # fmt: skip
        self.model_duration = meter.create_histogram(
            "gen_ai.client.operation.duration", "s", "Duration of model calls.",
            explicit_bucket_boundaries_advisory=_MODEL,
        )  # fmt: skip
        self.shed = meter.create_counter(
            "chat.shed", "{chat}", "Chats refused because too many are under way."
        )
        self.rate_limited = meter.create_counter(
            "chat.rate_limit.refused", "{request}", "Chats refused by the rate limit."
        )
        self.rate_limited_locally = meter.create_counter(
            "chat.rate_limit.local", "{request}", "Chats counted by this process alone."
        )
        self.cache_lookups = meter.create_counter(
            "chat.cache.lookups", "{lookup}", "Lookups by cache and outcome."
        )
        self.cache_events = meter.create_counter(
            "chat.cache.events", "{event}", "What happened beside the lookups."
        )


class CacheMetrics:
    """How one cache's lookups ended."""

    def __init__(self, instruments: Instruments, cache: str) -> None:
        self._instruments = instruments
        self._cache = cache

    def lookup(self, outcome: str) -> None:
        """Count a lookup: hit, negative, miss, bypass (Redis was not asked) or error."""
        self._instruments.cache_lookups.add(1, {"cache": self._cache, "outcome": outcome})

    def event(self, event: str) -> None:
        """Count something else: coalesced, fill, fill_refused, shed and so on."""
        self._instruments.cache_events.add(1, {"cache": self._cache, "event": event})
