"""Rows of ClickHouse's ``otel_traces`` as JSON, from places to columns."""

from __future__ import annotations

import pyarrow as pa

from analysis.formats import named_columns
from analysis.formats.walked.found_places import Places, UnusualError, table
from analysis.formats.walked.shape import MAP, REFUSE, Shape, kept, record
from worthit.contract.names import SCOPE_NAME

_COLUMNS = named_columns.LAYOUTS[0].columns
SHAPE = Shape(
    record(
        "span",
        {
            **{column: kept(what) for what, column in _COLUMNS.items()},
            _COLUMNS["attributes"]: MAP,
            "ScopeName": kept("scope"),
            "TraceState": kept("state"),
            "Links.TraceId": kept("links"),
            "data": REFUSE,
        },
    )
)


def columns(places: Places) -> pa.Table:
    """Give the spans. Raises ``UnusualError`` where a value is to be looked at by itself."""
    spans = places.rows("span")
    if places.has("state", spans).any() or places.has("links", spans).any():
        raise UnusualError
    found = places.pairs("span", lambda value: value).columns(
        SCOPE_NAME, places.where("scope", spans)
    )
    for name in ("trace_id", "span_id", "parent_span_id"):
        found[name] = places.ids(name, spans)
    found["service"] = places.words("service", spans)
    found["name"] = places.words("name", spans)
    found["kind"] = places.words("kind", spans, named_columns.kind_word)
    found["status"] = places.words("status", spans, named_columns.status_word)
    found["start_ns"] = places.moments("start", spans, None)
    found["duration_ns"] = places.numbers("duration", spans)
    if any(found[name].null_count for name in _COLUMNS if name in ("trace_id", "span_id", "name")):
        raise UnusualError
    if found["start_ns"].null_count:
        raise UnusualError
    return table(found)
