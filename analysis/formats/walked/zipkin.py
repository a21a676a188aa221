"""Zipkin's JSON of version 2, from places to columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.formats.walked.found_places import Places, UnusualError, table
from analysis.formats.walked.shape import MAP, REFUSE, Shape, kept, record
from worthit.contract.names import SCOPE_NAME

_NS_PER_US = 1000
SHAPE = Shape(
    record(
        "span",
        {
            "traceId": kept("trace_id"),
            "id": kept("span_id"),
            "parentId": kept("parent_span_id"),
            "name": kept("name"),
            "kind": kept("kind"),
            "timestamp": kept("start"),
            "duration": kept("duration"),
            "localEndpoint": {"serviceName": kept("service")},
            "tags": MAP,
            "binaryAnnotations": REFUSE,
            "annotations": kept("annotations"),
        },
    )
)


def columns(places: Places) -> pa.Table:
    """Give the spans. Raises ``UnusualError`` where a value is to be looked at by itself."""
    spans = places.rows("span")
    pairs = places.pairs("span", lambda value: value)
    found = pairs.columns(SCOPE_NAME)
    failed = np.zeros(spans.size, np.bool_)
    failed[pairs.having("error")[0]] = True
    found["status"] = pc.if_else(pa.array(failed), "ERROR", "UNSET").cast(pa.large_string())
    for name in ("trace_id", "span_id", "parent_span_id"):
        found[name] = places.ids(name, spans)
    found["service"] = places.words("service", spans, lambda name: name or None)
    annotated = places.where("annotations", spans)[0] >= 0
    if (
        found["trace_id"].null_count
        or found["span_id"].null_count
        or pc.any(pc.and_(pa.array(annotated), pc.is_null(found["service"]))).as_py()
    ):
        raise UnusualError  # version 1, perhaps
    found["name"] = places.words("name", spans)
    found["kind"] = pc.ascii_upper(places.words("kind", spans, lambda kind: kind or "UNSPECIFIED"))
    start, duration = (places.numbers(name, spans) for name in ("start", "duration"))
    duration = pc.if_else(pc.is_valid(start), duration, pa.scalar(None, pa.int64()))
    found["start_ns"] = pc.multiply_checked(pc.fill_null(start, 0), _NS_PER_US)
    found["duration_ns"] = pc.multiply_checked(duration, _NS_PER_US)
    return table(found)
