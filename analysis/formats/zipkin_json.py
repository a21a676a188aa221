"""Zipkin v2 JSON: a list of spans, or a list of such lists (what ``/api/v2/traces`` answers)."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from analysis.errors import InputError
from analysis.formats.columns import Batch

_NS_PER_US = 1000

NAME = "Zipkin v2 JSON"
"""As messages call this format."""


def matches(document: object) -> bool:
    """Whether a parsed JSON document is Zipkin's, version 2."""
    if not isinstance(document, list) or not document:
        return False
    first = document[0]
    if isinstance(first, list):
        return matches(first) or not first
    return isinstance(first, dict) and "traceId" in first and "id" in first


def table(document: Any) -> pa.Table:
    """Turn a parsed document into spans columns.

    Raises ``InputError`` where a span lacks what every span has.
    """
    batch = Batch()
    for part in document:
        for span in part if isinstance(part, list) else [part]:
            _add(batch, span)
    return batch.table(ns_per_unit=_NS_PER_US)


def _add(batch: Batch, span: dict[str, Any]) -> None:
    """Add one span.

    The two sides of a call that share one id stay two rows; ``analysis.calltree.call_tree``
    puts one below the other.
    """
    if not span.get("traceId") or not span.get("id"):
        raise InputError("a span has no traceId or no id; Zipkin v2 gives each span both")
    columns, start, duration = batch.columns, span.get("timestamp"), span.get("duration")
    tags = dict(span.get("tags") or {})
    columns["trace_id"].append(str(span["traceId"]))
    columns["span_id"].append(str(span["id"]))
    columns["parent_span_id"].append(span.get("parentId") or None)
    columns["service"].append((span.get("localEndpoint") or {}).get("serviceName"))
    columns["name"].append(span.get("name"))
    columns["kind"].append(span.get("kind") or "UNSPECIFIED")
    columns["start_ns"].append(int(start or 0))
    columns["duration_ns"].append(
        int(duration) if duration is not None and start is not None else None
    )
    columns["status"].append("ERROR" if "error" in tags else "UNSET")
    batch.promote(tags)
