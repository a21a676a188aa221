"""The names by which spans and requests say which run they belong to, and what was done to them.

The load sends the first six as W3C baggage; a service that copies its baggage onto its spans makes
them attributes. The reference service, which imports nothing of ours, has the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

RUN: Final = "worthit.run"
ARM: Final = "worthit.arm"
STEP: Final = "worthit.step"
BLOCK: Final = "worthit.block"
SCENARIO: Final = "worthit.scenario"
DRAW: Final = "worthit.draw"
"""The number of an arrival's draw: arrivals of the same draw ask the same of every arm."""

EMULATED_NS: Final = "worthit.emulated_ns"
"""How much of a span's time was slept by the latency profile."""
POOL_WAIT_NS: Final = "worthit.pool_wait_ns"
"""How long a query waited for a connection of the pool."""
CACHE_KEY: Final = "worthit.key"
"""A hash of the key that was looked up."""
CACHE_SOURCE: Final = "cache.source"
"""Where a cached value came from."""
REDIS_HITS: Final = "worthit.redis.hits"
REDIS_MISSES: Final = "worthit.redis.misses"
"""How many keys Redis found and did not find, on the span of the call."""

SERVICE_NAME: Final = "service.name"
"""Resource attribute of OpenTelemetry: the column ``service`` of the spans."""

TRACE_STATE: Final = "w3c.tracestate"
"""Attribute under which the readers keep a span's W3C tracestate where it names a sampling
probability; the OpenTelemetry Collector writes it to Jaeger and Zipkin under the same name."""

COLUMN_ATTRIBUTES: Final[Mapping[str, str]] = {
    "arm": ARM,
    "step": STEP,
    "block": BLOCK,
    "db_system": "db.system.name",
    "db_operation": "db.operation.name",
    "db_collection": "db.collection.name",
    "cache_hit": "cache.hit",
}
"""Columns of the spans table that are taken from an attribute, each with that attribute's name of
today; ``analysis.formats.columns`` knows superseded ones."""

OUT_VARIABLE: Final = "WORTHIT_OUT"
"""Environment variable: the folder in which every Locust of a recorded command records."""
