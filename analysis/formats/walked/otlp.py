"""OTLP JSON as exporters, the collector and Tempo write it, from places to columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.formats.otlp import otlp_json
from analysis.formats.otlp.otlp_json import KINDS, LONGEST_NS, STATUSES
from analysis.formats.walked.found_places import Places, Rows, UnusualError, table
from analysis.formats.walked.shape import KEY_VALUES, Shape, kept, record
from worthit.contract.names import ARM, SCOPE_NAME, SERVICE_NAME

_SPAN = record(
    "span",
    {
        ("traceId", "trace_id"): kept("trace_id"),
        ("spanId", "span_id"): kept("span_id"),
        ("parentSpanId", "parent_span_id"): kept("parent_span_id"),
        "name": kept("name"),
        "kind": kept("kind"),
        ("startTimeUnixNano", "start_time_unix_nano"): kept("start"),
        ("endTimeUnixNano", "end_time_unix_nano"): kept("end"),
        "status": {"code": kept("status")},
        ("traceState", "trace_state"): kept("state"),
        "links": kept("links"),
        "attributes": KEY_VALUES,
    },
)
_SCOPE = record(
    "scope",
    {
        otlp_json.SCOPE_MEMBERS: {"name": kept("scope"), "attributes": kept("scope_said")},
        "spans": [_SPAN],
    },
)
_RESOURCE = record(
    "resource", {"resource": {"attributes": KEY_VALUES}, otlp_json.SCOPES_MEMBERS: [_SCOPE]}
)
SHAPE = Shape(
    record(
        "document",
        {
            otlp_json.SPANS_MEMBERS: [_RESOURCE],
            otlp_json.WRAPPERS: {otlp_json.SPANS_MEMBERS: [_RESOURCE]},
        },
    )
)


def columns(places: Places) -> pa.Table:
    """Give the spans. Raises ``UnusualError`` where a value is to be looked at by itself."""
    spans = places.rows("span")
    scopes = places.above(spans)
    resources = places.rows("resource")
    of = np.searchsorted(resources, places.above(scopes))
    if places.has("state", spans).any() or places.has("scope_said", scopes).any():
        raise UnusualError
    about = places.pairs("resource", otlp_json.any_value)
    found = places.pairs("span", otlp_json.any_value).columns(
        SCOPE_NAME, places.where("scope", scopes)
    )
    arms = about.words(ARM).take(pa.array(of))
    found["arm"] = pc.coalesce(found["arm"], arms)
    for name, size in (("trace_id", 16), ("span_id", 8), ("parent_span_id", 8)):
        found[name] = _ids(places, name, spans, size)
    found["service"] = about.words(SERVICE_NAME).take(pa.array(of))
    found["name"] = places.words("name", spans)
    found["kind"] = places.words(
        "kind", spans, lambda kind: otlp_json.enum(kind, KINDS, "SPAN_KIND_")
    )
    found["status"] = places.words(
        "status", spans, lambda code: otlp_json.enum(code, STATUSES, "STATUS_CODE_")
    )
    found["start_ns"], found["duration_ns"] = _times(places, spans)
    found["links"] = places.some("links", spans, otlp_json.links_text)
    return table(found)


def _ids(places: Places, name: str, spans: Rows, size: int) -> pa.Array:
    begins, ends = places.where(name, spans)
    whole = ends - begins == len('""') + 2 * size
    if (whole | ~places.has(name, spans)).all():
        found = places.ids(name, spans)
    else:  # base64, or digits are missing

        def read(value: object) -> str | None:
            text = otlp_json.identifier(value, size)
            return text.lower() if text else None

        found = places.words(name, spans, read)
    if name != "parent_span_id" and found.null_count:
        raise UnusualError
    return found


def _times(places: Places, spans: Rows) -> tuple[pa.Array, pa.Array]:
    """As ``otlp_json.times``."""
    start, end = (
        pc.fill_null(places.numbers(name, spans), 0).to_numpy() for name in ("start", "end")
    )
    known = (end > 0) & ((start > 0) | (end < LONGEST_NS))
    return pa.array(start), pa.array(end - start, mask=~known)
