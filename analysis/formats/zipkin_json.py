"""Zipkin JSON, version 2 and 1: spans in lists (as ``/api/v2/traces`` answers) or one a line.

In version 1 (zipkin-api, zipkin-api.yaml) what happened is told by annotations: ``cs`` and ``cr``
on the client, ``sr`` and ``ss`` on the server, ``ms`` and ``mr`` of messages; both sides of a call
may be in one span, whose times and service are then each side's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from analysis.errors import InputError
from analysis.formats.columns import Batch

_NS_PER_US = 1000

NAME = "Zipkin v2 JSON"
"""As messages call this format."""
ONE_SPAN = True
"""Whether a document is one span."""

_SIDES = (
    ("CLIENT", "cs", "cr"),
    ("SERVER", "sr", "ss"),
    ("PRODUCER", "ms", ""),
    ("CONSUMER", "mr", ""),
)
"""Version 1's annotations of each side of a call: its kind, its begin and its end."""
_ADDRESSES = frozenset({"ca", "sa", "ma"})
"""Version 1's binary annotations that are the other side's address and no tags."""


def matches(document: object) -> bool:
    """Whether a parsed JSON document is a span of Zipkin's."""
    return isinstance(document, dict) and "traceId" in document and "id" in document


def table(documents: Sequence[Any]) -> pa.Table:
    """Turn parsed documents into spans columns.

    Raises ``InputError`` where a span lacks what every span has. The two sides of a call that
    share one id stay two rows; ``analysis.calltree.call_tree`` puts one below the other.
    """
    batch = Batch()
    columns = batch.columns
    spans: list[dict[str, Any]] = []
    for span in documents:
        if not span.get("traceId") or not span.get("id"):
            raise InputError("a span has no traceId or no id; Zipkin v2 gives each span both")
        spans += _version_2(span) if "annotations" in span else (span,)
    columns["trace_id"] += [str(span["traceId"]) for span in spans]
    columns["span_id"] += [str(span["id"]) for span in spans]
    columns["parent_span_id"] += [span.get("parentId") or None for span in spans]
    columns["service"] += [
        (span.get("localEndpoint") or {}).get("serviceName") or None for span in spans
    ]
    columns["name"] += [span.get("name") for span in spans]
    columns["kind"] += [span.get("kind") or "UNSPECIFIED" for span in spans]
    columns["start_ns"] += [int(span.get("timestamp") or 0) for span in spans]
    columns["duration_ns"] += [
        int(span["duration"])
        if span.get("duration") is not None and span.get("timestamp") is not None
        else None
        for span in spans
    ]
    statuses = columns["status"]
    for span in spans:
        tags = span.get("tags") or {}
        statuses.append("ERROR" if "error" in tags else "UNSET")
        batch.promote(dict(tags))
    return batch.table(ns_per_unit=_NS_PER_US)


def _version_2(span: dict[str, Any]) -> list[dict[str, Any]]:
    """Give a span of version 1 as one or two of version 2; one of version 2 as it is."""
    said: dict[str, dict[str, Any]] = {
        one.get("value"): one for one in reversed(span["annotations"] or ())
    }
    if "localEndpoint" in span or ("binaryAnnotations" not in span and not _has_sides(said)):
        return [span]
    binary = span.get("binaryAnnotations") or []
    tags = {one["key"]: one.get("value") for one in binary if one["key"] not in _ADDRESSES}
    sides = [side for side in _SIDES if side[1] in said or side[2] in said]
    plain = {**span, "tags": tags}
    if not sides:
        plain["localEndpoint"] = _endpoint([*span["annotations"], *binary])
        return [plain]
    return [_side(plain, side, said, alone=len(sides) == 1) for side in sides]


def _has_sides(said: dict[str, dict[str, Any]]) -> bool:
    return any(begin in said or end in said for _, begin, end in _SIDES)


def _side(
    span: dict[str, Any],
    side: tuple[str, str, str],
    said: dict[str, dict[str, Any]],
    *,
    alone: bool,
) -> dict[str, Any]:
    kind, begin, end = side
    first, last = said.get(begin), said.get(end)
    here = _endpoint([one for one in (first, last) if one])
    found = {**span, "kind": kind, "localEndpoint": here}
    start = first.get("timestamp") if first else None
    stop = last.get("timestamp") if last else None
    if start is not None and stop is not None:
        found["timestamp"], found["duration"] = start, int(stop) - int(start)
    elif not alone and kind == "SERVER":  # the span's own times are the client's
        found["timestamp"], found["duration"] = start or stop, None
    elif span.get("timestamp") is None:
        found["timestamp"] = start
    return found


def _endpoint(annotations: list[dict[str, Any]]) -> dict[str, Any] | None:
    return next((one["endpoint"] for one in annotations if one.get("endpoint")), None)
