"""OTLP JSON: a TracesData document, one a line, or Jaeger v3's ``{"result": ...}`` of one."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pyarrow as pa

from analysis.errors import InputError
from analysis.formats.columns import Batch
from analysis.formats.resource_attributes import of_resource
from worthit.contract.names import ARM, SERVICE_NAME, TRACE_STATE

KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
"""Span.SpanKind of opentelemetry/proto/trace/v1/trace.proto, by number."""
STATUSES = ("UNSET", "OK", "ERROR")
"""Status.StatusCode of the same, by number."""

_SPANS = ("resourceSpans", "resource_spans", "batches")
_SCOPES = (
    "scopeSpans",
    "scope_spans",
    "instrumentationLibrarySpans",
    "instrumentation_library_spans",
)
"""Today's names, protobuf's own names, then those of OTLP before 0.19 and of Tempo's API."""
_HEX_LENGTHS = (16, 32)

SAMPLED = "ot="
"""A ``tracestate`` without OpenTelemetry's member names no sampling probability."""

LAST_NS = (1 << 63) - 1
"""The last moment that int64 holds, in the year 2262; OTLP's times have a bit more."""
LONGEST_NS = 10 * 365 * 86_400 * 10**9
"""No span takes ten years; one from 0 to a date of today would."""

NAME = "OTLP JSON"
"""As messages call this format."""


def matches(document: object) -> bool:
    """Whether a parsed JSON document is OTLP's."""
    if isinstance(document, list):
        return bool(document) and matches(document[0])
    if not isinstance(document, dict):
        return False
    return any(name in document for name in _SPANS) or (
        "result" in document and (document["result"] == {} or matches(document["result"]))
    )


def table(document: Any) -> pa.Table:
    """Turn a parsed document into spans columns.

    Raises ``InputError`` where a span lacks what every span has.
    """
    batch = Batch()
    for part in document if isinstance(document, list) else [document]:
        for resource in _get(part.get("result", part), _SPANS):
            about = _attributes((resource.get("resource") or {}).get("attributes"))
            service, arm = (_word(about, key) for key in (SERVICE_NAME, ARM))
            shared = of_resource(about)
            for scope in _get(resource, _SCOPES):
                for span in scope.get("spans") or ():
                    _add(batch, span, service, arm, shared)
    return batch.table()


def _get(part: dict[str, Any], names: tuple[str, ...]) -> list[dict[str, Any]]:
    return next((part[name] or [] for name in names if name in part), [])


def _word(about: dict[str, Any], key: str) -> str | None:
    """Give a resource's attribute that is a text."""
    value = about.get(key)
    return value if isinstance(value, str) and value else None


def _add(
    batch: Batch,
    span: dict[str, Any],
    service: str | None,
    arm: str | None,
    shared: dict[str, Any],
) -> None:
    def either(camel: str, snake: str) -> Any:
        return span.get(camel, span.get(snake))

    columns = batch.columns
    trace_id, span_id = (
        identifier(either("traceId", "trace_id")), identifier(either("spanId", "span_id")),
    )  # fmt: skip
    if trace_id is None or span_id is None:
        raise InputError("a span has no traceId or no spanId; OTLP gives each span both")
    columns["trace_id"].append(trace_id)
    columns["span_id"].append(span_id)
    columns["parent_span_id"].append(identifier(either("parentSpanId", "parent_span_id")))
    columns["service"].append(service)
    columns["name"].append(span.get("name"))
    columns["kind"].append(_enum(span.get("kind"), KINDS, "SPAN_KIND_"))
    start, duration = times(
        int(either("startTimeUnixNano", "start_time_unix_nano") or 0),
        int(either("endTimeUnixNano", "end_time_unix_nano") or 0),
    )
    columns["start_ns"].append(start)
    columns["duration_ns"].append(duration)
    code = (span.get("status") or {}).get("code")
    columns["status"].append(_enum(code, STATUSES, "STATUS_CODE_"))
    if span.get("links"):
        batch.sparse["links"][len(batch)] = orjson.dumps(
            [
                {
                    "trace_id": identifier(link.get("traceId", link.get("trace_id"))),
                    "span_id": identifier(link.get("spanId", link.get("span_id"))),
                }
                for link in span["links"]
            ]
        ).decode()
    attributes = {**shared, **_attributes(span.get("attributes"))}
    state = either("traceState", "trace_state")
    if state and SAMPLED in state:
        attributes[TRACE_STATE] = state
    batch.promote(attributes)
    if arm and len(batch) - 1 not in batch.sparse["arm"]:
        batch.sparse["arm"][len(batch) - 1] = arm  # outside of any request the service's own holds


def times(start: int, end: int) -> tuple[int, int | None]:
    """Give a span's start and duration in ns; no duration where either end is not known.

    0 is how OTLP says that a time is not given, and a start of 0 as well: who began then and ended
    decades later did not say when it began. What int64 does not hold is no time at all.
    """
    start, end = (time if 0 <= time <= LAST_NS else 0 for time in (start, end))
    known = end > 0 and (start > 0 or end < LONGEST_NS)
    return start, end - start if known else None


def _attributes(pairs: list[dict[str, Any]] | None) -> dict[str, Any]:
    return {pair["key"]: _value(pair.get("value")) for pair in pairs or ()}


def identifier(value: str | None) -> str | None:
    """Give an id as lower-case hex.

    Protobuf's own JSON mapping writes base64, which no hex id of that length can be.
    """
    if not value:
        return None
    if len(value) not in _HEX_LENGTHS and value.endswith("="):
        return base64.b64decode(value).hex()
    return value.lower()


def _enum(value: object, names: tuple[str, ...], prefix: str) -> str:
    """Read an enum given by number or by name."""
    if isinstance(value, str) and not value.isdigit():
        return value.removeprefix(prefix)
    number = int(str(value or 0))
    return names[number] if number < len(names) else names[0]


def _value(value: Any) -> Any:
    """Read an AnyValue."""
    if not value:
        return None
    for name, content in value.items():
        if name in ("intValue", "int_value"):
            return int(content)
        if name in ("arrayValue", "array_value"):
            return [_value(item) for item in (content or {}).get("values") or ()]
        if name in ("kvlistValue", "kvlist_value"):
            return {
                item["key"]: _value(item.get("value"))
                for item in (content or {}).get("values") or ()
            }
        return content
    return None
