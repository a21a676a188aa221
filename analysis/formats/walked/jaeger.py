"""Jaeger JSON and Jaeger's documents of Elasticsearch, from places to columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.formats.columns import COLUMN_SOURCES
from analysis.formats.jaeger import jaeger_json
from analysis.formats.walked.found_places import Places, Rows, UnusualError, table
from analysis.formats.walked.shape import REFUSE, TAGS, Members, Shape, kept, record
from worthit.contract.names import SCOPE_NAME

_NS_PER_US = 1000
_SPAN: Members = {
    "traceID": kept("trace_id"),
    "spanID": kept("span_id"),
    "parentSpanID": kept("parent_span_id"),
    "operationName": kept("name"),
    "references": [
        record(
            "reference",
            {"refType": kept("type"), "traceID": kept("to_trace"), "spanID": kept("to_span")},
        )
    ],
    "startTime": kept("start"),
    "duration": kept("duration"),
    "tags": TAGS,
    "processID": kept("process"),
    "process": {"serviceName": kept("service")},
}
_PROCESS = record("process", {"serviceName": kept("service")})
_TRACE: Members = {
    "traceID": kept("trace_id"),
    "spans": [record("span", _SPAN)],
    "processes": {"*": _PROCESS},
}
SHAPE = Shape(record("document", {**_TRACE, "data": [record("trace", _TRACE)]}))
_DOCUMENT: Members = {**_SPAN, "tag": REFUSE, "serviceName": REFUSE}
DOCUMENT_SHAPE = Shape(record("span", {**_DOCUMENT, "_source": _DOCUMENT}))


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise UnusualError
    return value


_SOURCES = {
    **COLUMN_SOURCES,
    "kind": (("span.kind",), _word, False),
    "status": (("otel.status_code",), _word, False),
}


def columns(places: Places) -> pa.Table:
    """Give the spans. Raises ``UnusualError`` where a value is to be looked at by itself."""
    spans = places.rows("span")
    pairs = places.pairs("span", lambda value: value)
    found = pairs.columns(SCOPE_NAME, sources=_SOURCES)
    found["kind"] = pc.fill_null(pc.ascii_upper(found["kind"]), "UNSPECIFIED")
    failed = np.zeros(spans.size, np.bool_)
    rows, which, values = pairs.having("error")
    failed[rows] = np.array([value in (True, "true") for value in values], np.bool_)[which]
    found["status"] = pc.if_else(
        pa.array(failed), "ERROR", pc.fill_null(found["status"], "UNSET")
    ).cast(pa.large_string())
    found["trace_id"] = places.ids("trace_id", spans)
    found["span_id"] = places.ids("span_id", spans)
    if found["trace_id"].null_count or found["span_id"].null_count:
        raise UnusualError
    found["parent_span_id"] = places.ids("parent_span_id", spans)
    _refer(places, spans, found)
    found["service"] = _services(places, spans)
    found["name"] = places.words("name", spans)
    start, duration = (places.numbers(name, spans) for name in ("start", "duration"))
    if start.null_count:
        raise UnusualError
    found["start_ns"] = pc.multiply_checked(start, _NS_PER_US)
    found["duration_ns"] = pc.multiply_checked(duration, _NS_PER_US)
    return table(found)


def _refer(places: Places, spans: Rows, found: dict[str, pa.Array]) -> None:
    """Take the parents from references: one to the own trace nearly always."""
    references = places.rows("reference")
    if not references.size:
        return
    of = np.searchsorted(spans, places.above(references))
    child = _is(places.words("type", references), "CHILD_OF")
    theirs, parents = places.ids("to_trace", references), places.ids("to_span", references)
    here = pc.fill_null(pc.equal(theirs, found["trace_id"].take(pa.array(of))), True)  # noqa: FBT003 - none named: the own
    plain = child & here.to_numpy(zero_copy_only=False)
    several = np.flatnonzero((np.bincount(of, minlength=spans.size) > 1)[of] | ~plain)
    place = np.full(spans.size, -1, np.int64)
    place[of] = np.arange(of.size)
    parents = parents.take(pa.array(place, mask=place < 0))
    found["parent_span_id"] = pc.coalesce(parents, found["parent_span_id"])
    if not several.size:
        return
    listed: dict[int, list[dict[str, Any]]] = {}
    types = places.words("type", references).to_pylist()
    traces, ids = theirs.to_pylist(), places.ids("to_span", references).to_pylist()
    for i in several.tolist():
        one = {"refType": types[i], "traceID": traces[i], "spanID": ids[i]}
        listed.setdefault(int(of[i]), []).append(one)
    own = found["trace_id"].take(pa.array(list(listed))).to_pylist()
    parent = found["parent_span_id"].to_pylist()
    follows = [False] * spans.size
    links: list[str | None] = [None] * spans.size
    for row, trace in zip(listed, own, strict=True):
        parent[row], follows[row], links[row] = jaeger_json.settled(listed[row], (trace, None, ""))
    found["parent_span_id"] = pa.array(parent, pa.large_string())
    found["follows_from"] = pa.array(follows)
    found["links"] = pa.array(links, pa.large_string())


def _is(words: pa.Array, word: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.asarray(pc.fill_null(pc.equal(words, word), False).to_numpy(zero_copy_only=False))  # noqa: FBT003 - pyarrow's own


def _services(places: Places, spans: Rows) -> pa.Array:
    """Give the service of each span's own process, else of its trace's by the process' name."""
    own = places.words("service", spans)
    processes = places.rows("process") if places.knows("process") else spans[:0]
    if not processes.size:
        return own
    names, keys = places.where("process", spans), places.where("", processes)
    codes, different = places.distinct(
        np.concatenate((names[0], keys[0])), np.concatenate((names[1], keys[1]))
    )
    many = len(different)
    wanted = places.above(spans) * many + codes[: spans.size]
    known = places.above(processes) * many + codes[spans.size :]
    place = np.searchsorted(known, wanted, sorter=(order := np.argsort(known, kind="stable")))
    place = order[np.minimum(place, known.size - 1)]
    place[known[place] != wanted] = -1
    by_name = places.words("service", processes).take(pa.array(place, mask=place < 0))
    return pc.if_else(pa.array(places.has("service", spans)), own, by_name)
