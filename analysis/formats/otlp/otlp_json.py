"""OTLP JSON, of any exporter and of the back ends that answer it.

A document is TracesData (``resourceSpans``; ``batches`` in Tempo's v1 answers), a bare
ResourceSpans (Java's logging-otlp), or either of them inside ``trace`` (Tempo's v2) or ``result``
(Jaeger's v3). Names are read as protobuf has them too (``resource_spans``), enums by name or
number, ids in hex or base64, times as text or number.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

import orjson
import pyarrow as pa

from analysis.errors import InputError
from analysis.formats.columns import Batch
from analysis.formats.resource_attributes import of_resource
from worthit.contract.names import ARM, SCOPE_NAME, SERVICE_NAME, TRACE_STATE

KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
"""Span.SpanKind of opentelemetry/proto/trace/v1/trace.proto, by number."""
STATUSES = ("UNSET", "OK", "ERROR")
"""Status.StatusCode of the same, by number."""

SPANS_MEMBERS = ("resourceSpans", "resource_spans", "batches")
SCOPES_MEMBERS = (
    "scopeSpans",
    "scope_spans",
    "instrumentationLibrarySpans",
    "instrumentation_library_spans",
)
"""Today's names, protobuf's own names, then those of OTLP before 0.19 and of Tempo's API."""
SCOPE_MEMBERS = ("scope", "instrumentationLibrary", "instrumentation_library")
WRAPPERS = ("result", "trace")
_ID_CHARACTERS = {16: 32, 8: 16}
"""Characters of hex for so many bytes."""
_HEX = frozenset("0123456789abcdefABCDEF")
_KEY_VALUE = itemgetter("key", "value")

_CHOSEN = "tailsampling."
"""Attributes of scopes (opentelemetry-collector-contrib, processor/tailsamplingprocessor)."""
SAMPLED = "ot="
"""A ``tracestate`` without OpenTelemetry's member names no sampling probability."""

LAST_NS = (1 << 63) - 1
"""The last moment that int64 holds, in the year 2262; OTLP's times have a bit more."""
LONGEST_NS = 10 * 365 * 86_400 * 10**9
"""No span takes ten years; one from 0 to a date of today would."""

NAME = "OTLP JSON"
"""As messages call this format."""
ONE_SPAN = False
"""Whether a document is one span."""


def matches(document: object) -> bool:
    """Whether a parsed JSON document is OTLP's."""
    if not isinstance(document, dict):
        return False
    if any(name in document for name in SPANS_MEMBERS) or any(
        name in document for name in SCOPES_MEMBERS
    ):
        return True
    return any(
        name in document and (document[name] == {} or matches(document[name])) for name in WRAPPERS
    )


def table(documents: Sequence[Any]) -> pa.Table:
    """Turn parsed documents into spans columns.

    Raises ``InputError`` where a span lacks what every span has.
    """
    batch = Batch()
    for document in documents:
        for resource in _resources(document):
            about = _attributes((resource.get("resource") or {}).get("attributes"))
            service, arm = (_word(about, key) for key in (SERVICE_NAME, ARM))
            shared = of_resource(about)
            for scope in _get(resource, SCOPES_MEMBERS):
                by = _first(scope, SCOPE_MEMBERS) or {}
                said = of_scope(by.get("name"), _attributes(by.get("attributes")))
                _add(batch, scope.get("spans") or [], service, arm, {**shared, **said})
    return batch.table()


def of_scope(name: str | None, attributes: dict[str, Any]) -> dict[str, Any]:
    """Give what a scope says of its spans: the instrumentation, and who chose the traces.

    The collector's tail sampling writes its policy there, not on the spans.
    """
    chosen = {key: attributes[key] for key in attributes if key.startswith(_CHOSEN)}
    return {SCOPE_NAME: name, **chosen} if name else chosen


def _resources(document: Any) -> Iterator[dict[str, Any]]:
    for name in WRAPPERS:
        if name in document and isinstance(document[name], dict):
            document = document[name]
    if any(name in document for name in SCOPES_MEMBERS):
        yield document
    yield from _get(document, SPANS_MEMBERS)


def _get(part: dict[str, Any], names: tuple[str, ...]) -> list[dict[str, Any]]:
    return _first(part, names) or []


def _first(part: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((part[name] for name in names if name in part), None)


def _word(about: dict[str, Any], key: str) -> str | None:
    """Give a resource's attribute that is a text."""
    value = about.get(key)
    return value if isinstance(value, str) and value else None


def _add(  # noqa: C901 - a column after the other; called once per scope
    batch: Batch,
    spans: list[dict[str, Any]],
    service: str | None,
    arm: str | None,
    shared: dict[str, Any],
) -> None:
    """Add the spans of one scope, a column at a time."""
    if not spans:
        return
    columns, row = batch.columns, len(batch)
    trace_ids = _ids(spans, "traceId", "trace_id", 32)
    span_ids = _ids(spans, "spanId", "span_id", 16)
    if None in trace_ids or None in span_ids:
        raise InputError("a span has no traceId or no spanId; OTLP gives each span both")
    columns["trace_id"] += trace_ids
    columns["span_id"] += span_ids
    columns["parent_span_id"] += _ids(spans, "parentSpanId", "parent_span_id", 16)
    columns["service"] += [service] * len(spans)
    columns["name"] += [span.get("name") for span in spans]
    kinds: dict[Any, str] = {}
    for span in spans:
        kind = span.get("kind")
        if kind not in kinds:
            kinds[kind] = enum(kind, KINDS, "SPAN_KIND_")
    columns["kind"] += [kinds[span.get("kind")] for span in spans]
    starts = _numbers(spans, "startTimeUnixNano", "start_time_unix_nano")
    ends = _numbers(spans, "endTimeUnixNano", "end_time_unix_nano")
    for start, end in zip(starts, ends, strict=True):
        if 0 < start <= end <= LAST_NS:  # as ``times`` does, in most cases
            columns["start_ns"].append(start)
            columns["duration_ns"].append(end - start)
        else:
            begun, duration = times(start, end)
            columns["start_ns"].append(begun)
            columns["duration_ns"].append(duration)
    columns["status"] += [
        enum(status.get("code"), STATUSES, "STATUS_CODE_") if status else "UNSET"
        for status in [span.get("status") for span in spans]
    ]
    for place, span in enumerate(spans, start=row):
        attributes = {**shared, **_attributes(span.get("attributes"))}
        state = span.get("traceState") or span.get("trace_state")
        if state and SAMPLED in state:
            attributes.setdefault(TRACE_STATE, state)
        if span.get("links"):
            batch.sparse["links"][place] = links_text(span["links"])
        batch.promote(attributes)
        if arm and place not in batch.sparse["arm"]:
            batch.sparse["arm"][place] = arm  # outside of any request the service's own holds


def _ids(spans: list[dict[str, Any]], camel: str, snake: str, length: int) -> list[str | None]:
    found = [span.get(camel) or span.get(snake) for span in spans]
    if any(one is not None and len(one) != length for one in found):
        return [identifier(one, length // 2) for one in found]
    return found


def _numbers(spans: list[dict[str, Any]], camel: str, snake: str) -> list[int]:
    return [int(span.get(camel) or span.get(snake) or 0) for span in spans]


def links_text(links: list[dict[str, Any]]) -> str:
    """Write links as the spans table has them."""
    return orjson.dumps(
        [
            {
                "trace_id": _lower(identifier(link.get("traceId", link.get("trace_id")), 16)),
                "span_id": _lower(identifier(link.get("spanId", link.get("span_id")), 8)),
            }
            for link in links
        ]
    ).decode()


def _lower(text: str | None) -> str | None:
    return text.lower() if text else text


def times(start: int, end: int) -> tuple[int, int | None]:
    """Give a span's start and duration in ns; no duration where either end is not known.

    0 is how OTLP says that a time is not given, and a start of 0 as well: who began then and ended
    decades later did not say when it began. What int64 does not hold is no time at all.
    """
    start, end = (time if 0 <= time <= LAST_NS else 0 for time in (start, end))
    known = end > 0 and (start > 0 or end < LONGEST_NS)
    return start, end - start if known else None


def _attributes(pairs: Any) -> dict[str, Any]:
    """Give key/value pairs as a dict; some tools write an object at once."""
    if not pairs:
        return {}
    if isinstance(pairs, dict):
        return pairs
    found = {}
    try:
        for key, value in map(_KEY_VALUE, pairs):
            try:
                found[key] = value["stringValue"]
            except (KeyError, TypeError):
                found[key] = any_value(value)
    except KeyError:  # a pair without a value
        return {pair["key"]: any_value(pair.get("value")) for pair in pairs}
    return found


def identifier(value: Any, size: int) -> str | None:
    """Give an id of ``size`` bytes as hex.

    Protobuf's own JSON mapping writes base64, with or without its padding, in either alphabet.
    """
    if not value:
        return None
    if not isinstance(value, str):
        raise InputError(f"an id is a text of hex or base64, not {value!r}")
    if len(value) == _ID_CHARACTERS[size] or (_HEX.issuperset(value) and not value.endswith("=")):
        return value
    unpadded = value.rstrip("=").translate(_URL_SAFE)
    if len(unpadded) == -(-size * 4 // 3):
        try:
            return base64.b64decode(unpadded + "=" * (-len(unpadded) % 4), validate=True).hex()
        except binascii.Error:
            return value
    return value


_URL_SAFE = str.maketrans("-_", "+/")


def enum(value: object, names: tuple[str, ...], prefix: str) -> str:
    """Read an enum given by number or by name."""
    if isinstance(value, str) and not value.isdigit():
        return value.upper().removeprefix(prefix)
    number = int(str(value or 0))
    return names[number] if 0 <= number < len(names) else names[0]


def any_value(value: Any) -> Any:
    """Read an AnyValue; a plain value, which some tools write, is itself."""
    if not isinstance(value, dict):
        return value
    for name, content in value.items():
        if name in ("intValue", "int_value"):
            return int(content)
        if name in ("arrayValue", "array_value"):
            return [any_value(item) for item in (content or {}).get("values") or ()]
        if name in ("kvlistValue", "kvlist_value"):
            return {
                item["key"]: any_value(item.get("value"))
                for item in (content or {}).get("values") or ()
            }
        return content
    return None
