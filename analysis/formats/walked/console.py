"""What Python's console exporter prints, from places to columns."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from analysis.formats import console_exporters
from analysis.formats.walked.found_places import Places, UnusualError, table
from analysis.formats.walked.shape import MAP, REFUSE, Shape, kept, record
from worthit.contract.names import SCOPE_NAME, SERVICE_NAME

SHAPE = Shape(
    record(
        "span",
        {
            "context": {
                "trace_id": kept("trace_id"),
                "span_id": kept("span_id"),
                "trace_state": kept("state"),
            },
            "name": kept("name"),
            "kind": kept("kind"),
            "parent_id": kept("parent_span_id"),
            "start_time": kept("start"),
            "end_time": kept("end"),
            "status": {"status_code": kept("status")},
            "attributes": MAP,
            "links": kept("links"),
            "resource": {"attributes": {SERVICE_NAME: kept("service")}},
            "InstrumentationScope": REFUSE,
            "InstrumentationLibrary": REFUSE,
        },
    )
)


def columns(places: Places) -> pa.Table:
    """Give the spans. Raises ``UnusualError`` where a value is to be looked at by itself."""
    spans = places.rows("span")
    state = places.words("state", spans)
    if not pc.all(pc.is_in(state, value_set=pa.array(["[]", None], state.type))).as_py():
        raise UnusualError
    found = places.pairs("span", lambda value: value).columns(SCOPE_NAME)
    for name in ("trace_id", "span_id", "parent_span_id"):
        found[name] = places.ids(name, spans, prefix=b"0x")
    if found["trace_id"].null_count or found["span_id"].null_count:
        raise UnusualError
    found["service"] = places.words(
        "service", spans, lambda name: name if isinstance(name, str) else None
    )
    found["name"] = places.words("name", spans)
    found["kind"] = places.words("kind", spans, console_exporters.kind_word)
    found["status"] = places.words("status", spans, console_exporters.status_word)
    start, end = (places.moments(name, spans, "UTC") for name in ("start", "end"))
    found["start_ns"] = pc.fill_null(start, 0)
    found["duration_ns"] = pc.subtract(end, start)
    found["links"] = places.some("links", spans, console_exporters.links_text)
    return table(found)
