"""The four tables of a run directory: each column's name and type, once.

docs/run-directory.md says what stands in them. Whoever writes or reads a table takes its schema
from here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pyarrow as pa

SPANS: Final = pa.schema(
    [
        ("trace_id", pa.large_string()),
        ("span_id", pa.large_string()),
        ("parent_span_id", pa.large_string()),
        ("service", pa.large_string()),
        ("name", pa.large_string()),
        ("kind", pa.large_string()),
        ("start_ns", pa.int64()),
        ("duration_ns", pa.int64()),
        ("status", pa.large_string()),
        ("arm", pa.large_string()),
        ("step", pa.int32()),
        ("block", pa.int32()),
        ("db_system", pa.large_string()),
        ("db_operation", pa.large_string()),
        ("db_collection", pa.large_string()),
        ("cache_hit", pa.bool_()),
        ("attributes", pa.large_string()),
        ("follows_from", pa.bool_()),
        ("links", pa.large_string()),
    ]
)
"""One row per span. Of ``follows_from`` the parent did not wait for this span; ``attributes`` and
``links`` are JSON."""

RESOURCE: Final = "resource"
"""One more column of a recorder's spans.parquet: the resource's attributes as JSON. Files of
earlier versions and of other tools lack it."""

SPANS_WITH_RESOURCE: Final = SPANS.append(pa.field(RESOURCE, pa.large_string()))

REQUESTS: Final = pa.schema(
    [
        ("trace_id", pa.string()),
        ("scenario", pa.string()),
        ("name", pa.string()),
        ("arm", pa.string()),
        ("step", pa.int32()),
        ("block", pa.int32()),
        ("draw", pa.int64()),
        ("intended_ns", pa.int64()),
        ("sent_ns", pa.int64()),
        ("end_ns", pa.int64()),
        ("status_code", pa.int32()),
        ("error", pa.string()),
        ("response_bytes", pa.int64()),
        ("method", pa.string()),
        ("request_type", pa.string()),
        ("wire_ns", pa.int64()),
        ("connect_ns", pa.int64()),
        ("first_byte_ns", pa.int64()),
        ("first_token_ns", pa.int64()),
        ("last_token_ns", pa.int64()),
        ("output_tokens", pa.int32()),
        ("output_pieces", pa.int32()),
    ]
)
"""One row per request of an arrival, and per event of a client that is not one of Locust's HTTP
clients: ``request_type`` is "http" or that event's own type."""

COUNTERS: Final = pa.schema(
    [
        ("t_ns", pa.int64()),
        ("source", pa.string()),
        ("name", pa.string()),
        ("labels", pa.string()),
        ("value", pa.float64()),
    ]
)
"""One row per sample; ``labels`` is JSON."""

EVENTS: Final = pa.schema([("t_ns", pa.int64()), ("kind", pa.string()), ("detail", pa.string())])
"""One row per event; ``detail`` is JSON."""

TABLES: Final[Mapping[str, pa.Schema]] = {
    "spans": SPANS,
    "requests": REQUESTS,
    "counters": COUNTERS,
    "events": EVENTS,
}
"""Every table by the name of its file, ``NAME.parquet``."""

OPTIONAL_COLUMNS: Final = frozenset(
    {
        *("follows_from", "links"),
        *("method", "request_type", "wire_ns", "connect_ns", "first_byte_ns"),
        *("first_token_ns", "last_token_ns", "output_tokens", "output_pieces"),
    }
)
"""Columns that a run directory may lack."""

NEVER_NULL: Final = frozenset({"start_ns", "intended_ns", "sent_ns", "t_ns"})
"""Whole numbers that every row has; any other column may hold nulls."""


def read_stream(path: Path) -> pa.Table:
    """Read the requests that one worker of the load wrote: ``requests-<worker>.arrows``.

    Of an Arrow IPC stream that was cut off, as by kill -9, every whole batch is read.
    """
    batches: list[pa.RecordBatch] = []
    # a stream cut off inside a message: what came before it is sound
    with path.open("rb") as file, contextlib.suppress(pa.ArrowInvalid, OSError):
        batches.extend(pa.ipc.open_stream(file))
    return pa.Table.from_batches(batches, schema=REQUESTS)
