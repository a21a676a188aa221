"""What SDKs print as JSON: Python's and PHP's ConsoleSpanExporter, Go's stdouttrace.

Sources: opentelemetry-python, sdk/trace/__init__.py (``ReadableSpan.to_json``); opentelemetry-php,
SDK/Trace/SpanExporter/FriendlySpanConverter; opentelemetry-go, sdk/trace/tracetest and
exporters/stdout/stdouttrace. Each prints a document a span, over several lines or on one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa

from analysis.errors import InputError
from analysis.formats import moments
from analysis.formats.columns import Batch
from analysis.formats.otlp.otlp_json import KINDS, STATUSES, enum
from worthit.contract.names import SCOPE_NAME, SERVICE_NAME, TRACE_STATE

NAME = "a console exporter's JSON"
"""As messages call this format."""
ONE_SPAN = True

_STATE = re.compile(r"\{key=([^,]+), value=([^}]*)\}")
"""An entry of Python's ``TraceState``, as it prints itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """Where one exporter puts what."""

    context: str
    trace_id: str
    span_id: str
    state: str
    name: str
    kind: str
    start: tuple[str, ...]
    end: tuple[str, ...]
    status: str
    code: tuple[str, ...]
    attributes: str
    resource: str
    links: str


_PYTHON = _Names(
    context="context", trace_id="trace_id", span_id="span_id", state="trace_state", name="name",
    kind="kind", start=("start_time", "start"), end=("end_time", "end"), status="status",
    code=("status_code", "code", "canonical_code"), attributes="attributes", resource="resource",
    links="links",
)  # fmt: skip
"""Also PHP's, whose times are ``start`` and ``end`` in ns."""
_GO = _Names(
    context="SpanContext", trace_id="TraceID", span_id="SpanID", state="TraceState", name="Name",
    kind="SpanKind", start=("StartTime",), end=("EndTime",), status="Status", code=("Code",),
    attributes="Attributes", resource="Resource", links="Links",
)  # fmt: skip


def matches(document: object) -> bool:
    """Whether a parsed JSON document is a span that one of these exporters printed."""
    return isinstance(document, dict) and any(
        isinstance(context := document.get(names.context), dict) and names.trace_id in context
        for names in (_PYTHON, _GO)
    )


def table(documents: Sequence[Any]) -> pa.Table:
    """Turn parsed documents into spans columns.

    Raises ``InputError`` where a span lacks what every span has.
    """
    batch = Batch()
    for names in (_PYTHON, _GO):
        _add(batch, [one for one in documents if names.context in one], names)
    return batch.table()


def _add(batch: Batch, spans: list[dict[str, Any]], names: _Names) -> None:
    if not spans:
        return
    columns = batch.columns
    contexts = [span[names.context] for span in spans]
    columns["trace_id"] += [_id(context.get(names.trace_id)) for context in contexts]
    columns["span_id"] += [_id(context.get(names.span_id)) for context in contexts]
    if None in columns["trace_id"] or None in columns["span_id"]:
        raise InputError("a span's context has no trace id or no span id")
    columns["parent_span_id"] += [_parent(span, names) for span in spans]
    columns["name"] += [span.get(names.name) for span in spans]
    columns["kind"] += [kind_word(span.get(names.kind)) for span in spans]
    starts = moments.nanoseconds([_first(span, names.start) for span in spans])
    ends = moments.nanoseconds([_first(span, names.end) for span in spans])
    columns["start_ns"] += [start or 0 for start in starts]
    columns["duration_ns"] += [
        None if start is None or end is None else end - start
        for start, end in zip(starts, ends, strict=True)
    ]
    for span, context in zip(spans, contexts, strict=True):
        status = span.get(names.status)
        code = _first(status, names.code) if isinstance(status, dict) else status
        columns["status"].append(status_word(code))
        resource = _attributes(span.get(names.resource))
        about = resource.get("attributes", resource)
        service = about.get(SERVICE_NAME) if isinstance(about, dict) else None
        columns["service"].append(service if isinstance(service, str) else None)
        attributes = dict(_attributes(span.get(names.attributes)))
        scope = span.get("InstrumentationScope") or span.get("InstrumentationLibrary") or {}
        if scope.get("Name"):
            attributes[SCOPE_NAME] = scope["Name"]
        state = context.get(names.state) or ""
        state = ",".join(f"{k}={v}" for k, v in _STATE.findall(state)) or state
        if state and state != "[]":
            attributes[TRACE_STATE] = state
        if span.get(names.links):
            batch.sparse["links"][len(batch)] = links_text(span[names.links], names)
        batch.promote(attributes)


_PARENTS = ("Parent", "parent_id", "parent_span_id", "ParentSpanID")
"""``ParentSpanID``: Go's before 1.0."""


def _id(value: Any) -> str | None:
    """Python puts 0x before its ids."""
    return str(value).lower().removeprefix("0x") if value else None


def _parent(span: Mapping[str, Any], names: _Names) -> str | None:
    parent = next((span[name] for name in _PARENTS if span.get(name)), None)
    if isinstance(parent, dict):
        parent = parent.get(names.span_id)
    return _id(parent)


def kind_word(kind: Any) -> str:
    """``SpanKind.SERVER`` is Python's, ``KIND_SERVER`` PHP's, 2 Go's, "server" Go's of old."""
    if isinstance(kind, str):
        kind = kind.rsplit(".", maxsplit=1)[-1]
    return enum(kind, KINDS, "KIND_")


def status_word(code: Any) -> str:
    """Read a status as any of these exporters writes it."""
    word = enum(code, STATUSES, "STATUS_CODE_").rsplit(".", maxsplit=1)[-1]
    return word if word in STATUSES else "UNSET"


def _first(part: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((part[name] for name in names if part.get(name) is not None), None)


def _attributes(found: Any) -> dict[str, Any]:
    """Give attributes as a dict; Go has a list of keys and typed values."""
    if isinstance(found, list):
        return {one["Key"]: _value(one.get("Value")) for one in found}
    return found if isinstance(found, dict) else {}


def _value(value: Any) -> Any:
    return value.get("Value") if isinstance(value, dict) and "Type" in value else value


def links_text(links: Sequence[Mapping[str, Any]], names: _Names = _PYTHON) -> str:
    """Write links as the spans table has them."""
    contexts = [link.get(names.context) or {} for link in links]
    return orjson.dumps(
        [
            {"trace_id": _id(one.get(names.trace_id)), "span_id": _id(one.get(names.span_id))}
            for one in contexts
        ]
    ).decode()
