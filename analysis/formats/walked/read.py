"""JSON of a known format as a spans table, where nothing in it is unusual.

The readers beside this folder look at each document as Python objects, know every spelling and
say what is wrong and where. This is the shorter way for what tools write every day; it gives the
same table, or none.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pyarrow as pa

from analysis.errors import InputError
from analysis.formats.resource_attributes import asked_for
from analysis.formats.walked import clickhouse, console, jaeger, otlp, zipkin
from analysis.formats.walked.found_places import Places, UnusualError
from analysis.formats.walked.shape import Shape

_FORMATS: tuple[tuple[re.Pattern[bytes], Shape, Callable[[Places], pa.Table]], ...] = (
    (
        re.compile(rb'"(?:resource_?[sS]pans|batches)"\s*:'),
        otlp.SHAPE,
        otlp.columns,
    ),
    (re.compile(rb'"spans"\s*:'), jaeger.SHAPE, jaeger.columns),
    (re.compile(rb'"spanID"\s*:'), jaeger.DOCUMENT_SHAPE, jaeger.columns),
    (re.compile(rb'"context"\s*:\s*\{\s*"trace_id"\s*:'), console.SHAPE, console.columns),
    (re.compile(rb'"SpanAttributes"\s*:\s*\{'), clickhouse.SHAPE, clickhouse.columns),
    (re.compile(rb'"traceId"\s*:'), zipkin.SHAPE, zipkin.columns),
)
"""What is in a document's beginning, its shape, and who makes columns of it; the first counts."""
_BEGINNING_BYTES = 1 << 14


def table(content: bytes) -> pa.Table | None:
    """Give the spans of a text; None where another reader is to look at it."""
    beginning = content[:_BEGINNING_BYTES]
    if beginning.lstrip()[:1] not in (b"{", b"[") or asked_for():
        return None
    found = next((one for one in _FORMATS if one[0].search(beginning)), None)
    if found is None:
        return None
    _, shape, columns = found
    try:
        if not content.isascii():
            content.decode()
        places = Places(content, shape)
        return None if places.has_idle() else columns(places)
    except (UnusualError, InputError, ValueError, TypeError, pa.ArrowException):
        return None  # what is wrong, and where, is for the other readers to say
