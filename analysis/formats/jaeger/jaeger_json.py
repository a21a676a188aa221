"""Jaeger JSON: what Jaeger UI downloads and its HTTP API answers.

One trace, several, or JSON lines of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

import orjson
import pyarrow as pa

from analysis.errors import InputError
from analysis.formats.columns import Batch
from analysis.formats.resource_attributes import asked_for, of_resource

_NS_PER_US = 1000
_PAIR = itemgetter("key", "value")

NAME = "Jaeger JSON"
"""As messages call this format."""
ONE_SPAN = False
"""Whether a document is one span."""


def matches(document: object) -> bool:
    """Whether a parsed JSON document is Jaeger's."""
    if not isinstance(document, dict):
        return False
    if "data" in document and "spans" not in document:
        data = document["data"]
        if data is None or data == []:  # other tools' answers have data and a status
            return bool(document.keys() & {"errors", "total", "limit"}) or len(document) == 1
        return isinstance(data, list) and isinstance(data[0], dict) and "spans" in data[0]
    return "spans" in document and ("processes" in document or "traceID" in document)


def table(documents: Sequence[Any]) -> pa.Table:
    """Turn parsed documents into spans columns.

    Raises ``InputError`` where a span lacks what every span has.
    """
    return table_of(trace for document in documents for trace in _traces(document))


def table_of(traces: Iterable[dict[str, Any]]) -> pa.Table:
    """Turn traces into spans columns, as ``table``."""
    batch = Batch()
    for trace in traces:
        try:
            _add(batch, trace)
        except (KeyError, AttributeError, TypeError) as error:
            name = dict(trace).get("traceID") if trace else None
            raise InputError(
                f"a span of trace {name} lacks what Jaeger gives every span ({error!r})"
            ) from error
    return batch.table(ns_per_unit=_NS_PER_US)


def _traces(document: Any) -> list[dict[str, Any]]:
    if "data" in document and "spans" not in document:
        if document.get("errors") and not document["data"]:
            raise InputError(f"Jaeger answered no traces but errors: {_told(document['errors'])}")
        return list(document["data"] or [])
    return [document]


def _told(errors: object) -> str:
    """Say in one line what Jaeger's answer says went wrong."""
    first = errors[0] if isinstance(errors, list) else errors
    message = first.get("msg") if isinstance(first, dict) else None
    return " ".join(str(message or first).split())


def _add(batch: Batch, trace: dict[str, Any]) -> None:
    """Add one trace. Tags go over unchanged, but for those that have a column."""
    spans = trace.get("spans") or []
    processes = trace.get("processes") or {}
    services = {key: (about or {}).get("serviceName") for key, about in processes.items()}
    columns, trace_id = batch.columns, trace.get("traceID")
    shares = bool(asked_for())
    shared = {key: _of_process(about) for key, about in processes.items()} if shares else {}
    trace_ids = [span.get("traceID") or trace_id for span in spans]
    columns["trace_id"] += trace_ids
    columns["span_id"] += [span["spanID"] for span in spans]
    columns["name"] += [span.get("operationName") for span in spans]
    columns["service"] += [
        span["process"].get("serviceName")
        if span.get("process")
        else services.get(span.get("processID"))
        for span in spans
    ]
    columns["start_ns"] += [_micros(span.get("startTime")) or 0 for span in spans]
    columns["duration_ns"] += [
        _micros(span.get("duration")) if span.get("startTime") is not None else None
        for span in spans
    ]
    kinds, statuses, parents = columns["kind"], columns["status"], columns["parent_span_id"]
    for span, own in zip(spans, trace_ids, strict=True):
        references = span.get("references")
        if not references:
            parents.append(span.get("parentSpanID") or None)
        else:
            parent, follows, links = settled(references, (own, None, ""))
            parents.append(parent)
            if follows:
                batch.sparse["follows_from"][len(batch)] = True
            if links:
                batch.sparse["links"][len(batch)] = links
        attributes = _attributes(span.get("tags") or ())
        if shares:
            own_process = span.get("process")
            process = _of_process(own_process) if own_process else shared.get(span["processID"])
            attributes = {**(process or {}), **attributes}
        kinds.append(attributes.pop("span.kind", "UNSPECIFIED"))
        status = attributes.pop("otel.status_code", "UNSET")
        failed = "error" in attributes and attributes["error"] in (True, "true")
        statuses.append("ERROR" if failed else status)
        batch.promote(attributes)


def _of_process(about: dict[str, Any] | None) -> dict[str, Any]:
    """Give what a process's spans keep of its tags."""
    return of_resource(_attributes((about or {}).get("tags") or ()))


def _attributes(tags: Sequence[dict[str, Any]]) -> dict[str, Any]:
    try:
        return dict(map(_PAIR, tags))
    except KeyError:  # a tag without a value
        return {tag["key"]: tag.get("value") for tag in tags}


def _micros(value: object) -> int | None:
    """Read a time in whole microseconds; some writers put texts or fractions there."""
    if value is None or type(value) is int:
        return value
    return int(float(str(value)))


def settled(
    references: list[dict[str, Any]], own: tuple[str | None, ...]
) -> tuple[str | None, bool, str | None]:
    """Give the parent, whether it is followed from, and what is left of the references as links.

    The parent is the trace's first CHILD_OF, else its first FOLLOWS_FROM (as Jaeger UI). ``own``
    is what a reference's trace id may be for it to stay in the trace.
    """
    here = [ref for ref in references if ref.get("traceID") in own]
    parent = next((ref for ref in here if ref.get("refType") == "CHILD_OF"), None) or (
        here[0] if here else {}
    )
    links = [
        {"trace_id": str(ref.get("traceID")).lower(), "span_id": str(ref.get("spanID")).lower()}
        for ref in references
        if ref is not parent
    ]
    follows = parent.get("refType") == "FOLLOWS_FROM"
    return parent.get("spanID") or None, follows, orjson.dumps(links).decode() if links else None
