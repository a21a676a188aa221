"""Jaeger JSON: what Jaeger UI downloads and its HTTP API answers.

One trace, several, or JSON lines of them.
"""

from __future__ import annotations

from typing import Any

import orjson
import pyarrow as pa

from analysis.errors import InputError
from analysis.formats.columns import Batch, promote

_NS_PER_US = 1000

NAME = "Jaeger JSON"
"""As messages call this format."""


def matches(document: object) -> bool:
    """Whether a parsed JSON document is Jaeger's."""
    if isinstance(document, list):
        return bool(document) and matches(document[0])
    if not isinstance(document, dict):
        return False
    if "data" in document:
        data = document["data"]
        return data is None or (isinstance(data, list) and (not data or "spans" in data[0]))
    return "spans" in document and ("processes" in document or "traceID" in document)


def table(document: Any) -> pa.Table:
    """Turn a parsed document into spans columns.

    Raises ``InputError`` where a span lacks what every span has.
    """
    batch = Batch()
    for trace in _traces(document):
        _add(batch.columns, trace)
    return batch.table()


def _traces(document: Any) -> list[dict[str, Any]]:
    if isinstance(document, list):
        return [trace for part in document for trace in _traces(part)]
    if "data" in document:
        return list(document["data"] or [])
    return [document]


def _add(columns: dict[str, list[Any]], trace: dict[str, Any]) -> None:
    """Add one trace. Tag names and values go over unchanged, but for those that have a column."""
    services = {
        key: (process or {}).get("serviceName")
        for key, process in (trace.get("processes") or {}).items()
    }
    spans = trace.get("spans") or []
    trace_id = trace.get("traceID")
    for span in spans:
        try:
            own_trace = span.get("traceID") or trace_id
            columns["trace_id"].append(str(own_trace).lower())
            columns["span_id"].append(span["spanID"].lower())
            start, duration = span.get("startTime"), span.get("duration")
            columns["name"].append(span.get("operationName"))
        except (KeyError, AttributeError, TypeError) as error:
            raise InputError(
                f"A span of trace {trace_id} has no usable traceID or spanID ({error!r}); "
                "Jaeger JSON gives each span both."
            ) from error
        columns["start_ns"].append(int(start) * _NS_PER_US if start is not None else 0)
        columns["duration_ns"].append(
            int(duration) * _NS_PER_US if duration is not None and start is not None else None
        )
        process = span.get("process")
        columns["service"].append(
            process.get("serviceName") if process else services.get(span.get("processID"))
        )
        _add_references(columns, span, trace_id)
        attributes = {tag["key"]: tag.get("value") for tag in span.get("tags") or ()}
        columns["kind"].append(str(attributes.pop("span.kind", "UNSPECIFIED")).upper())
        columns["status"].append(_status(attributes))
        promote(columns, attributes)


def _status(attributes: dict[str, Any]) -> str:
    code = attributes.pop("otel.status_code", None)
    if code in ("OK", "ERROR"):
        return str(code)
    return "ERROR" if attributes.get("error") in (True, "true") else "UNSET"


def _add_references(
    columns: dict[str, list[Any]], span: dict[str, Any], trace_id: str | None
) -> None:
    """The parent is the first CHILD_OF of this trace, else the first FOLLOWS_FROM of it.

    The rest are links (as Jaeger UI).
    """
    references = span.get("references") or ()
    if not references:
        columns["parent_span_id"].append((span.get("parentSpanID") or "").lower() or None)
        columns["follows_from"].append(False)
        columns["links"].append(None)
        return
    own = span.get("traceID") or trace_id
    here = [ref for ref in references if (ref.get("traceID") or own) == own]
    parent = next((ref for ref in here if ref.get("refType") == "CHILD_OF"), None) or (
        here[0] if here else None
    )
    columns["parent_span_id"].append(
        parent["spanID"].lower() if parent and parent.get("spanID") else None
    )
    columns["follows_from"].append((parent or {}).get("refType") == "FOLLOWS_FROM")
    rest = [
        {
            "trace_id": (ref.get("traceID") or own or "").lower(),
            "span_id": (ref.get("spanID") or "").lower(),
        }
        for ref in references
        if ref is not parent
    ]
    columns["links"].append(orjson.dumps(rest).decode() if rest else None)
