"""The same 12-span chat traces in the bytes of every JSON format, as its tool writes it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from benchmarks.support.synthetic_traces import (
    BEGINS_MS,
    NAMES,
    PARENTS,
    SPANS_PER_TRACE,
    TAKES_MS,
)

START_US = 1_795_442_400_000_000
_KINDS = ("SERVER", "INTERNAL", "CLIENT", "CLIENT", "INTERNAL", "CLIENT") * 2
_SERVICE, _SCOPE = "chat", "opentelemetry.instrumentation.asyncpg"
_TEXTS = {
    "db.system.name": "postgresql",
    "db.operation.name": "SELECT",
    "db.collection.name": "personalities",
    "db.query.text": "SELECT id, config FROM personalities WHERE name = $1",
    "server.address": "127.0.0.1",
}
_OTLP_GROUP = 16
"""Traces an exporter sends at once."""


@dataclass(frozen=True, slots=True)
class _Span:
    trace: str
    id: str
    parent: str | None
    place: int
    start_us: int
    attributes: Mapping[str, str | int | float | bool]

    @property
    def name(self) -> str:
        return NAMES[self.place]

    @property
    def kind(self) -> str:
        return _KINDS[self.place]

    @property
    def took_us(self) -> int:
        return TAKES_MS[self.place] * 1000


def _traces(count: int) -> Iterator[list[_Span]]:
    """Every span has attributes of each type; one number and one text that no other span has."""
    rng = random.Random(2)
    for trace in range(count):
        trace_id, ids = rng.randbytes(16).hex(), [rng.randbytes(8).hex() for _ in NAMES]
        yield [
            _Span(
                trace_id, ids[i], ids[PARENTS[i]] if i else None, i,
                START_US + trace * 10_000 + BEGINS_MS[i] * 1000,
                {
                    **_TEXTS, "server.port": 5432, "thread.id": rng.randrange(10**15),
                    "app.ratio": 0.25, "app.cached": i % 2 == 0,
                    "url.full": f"http://127.0.0.1/chat/{rng.randrange(10**9)}",
                },
            )
            for i in range(SPANS_PER_TRACE)
        ]  # fmt: skip


def _any_value(value: object) -> dict[str, object]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}


def _pairs(attributes: Mapping[str, object]) -> list[dict[str, object]]:
    return [{"key": key, "value": _any_value(value)} for key, value in attributes.items()]


def _otlp_span(span: _Span) -> dict[str, Any]:
    parent = {"parentSpanId": span.parent} if span.parent else {}
    start = span.start_us * 1000
    return {
        "traceId": span.trace, "spanId": span.id, **parent, "flags": 257, "name": span.name,
        "kind": _KIND_NUMBERS[span.kind], "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + span.took_us * 1000), "attributes": _pairs(span.attributes),
        "status": {},
    }  # fmt: skip


_KIND_NUMBERS = {"INTERNAL": 1, "SERVER": 2, "CLIENT": 3}


def _resource(spans: list[_Span]) -> dict[str, Any]:
    about = {"service.name": _SERVICE, "telemetry.sdk.language": "python", "host.name": "a"}
    return {
        "resource": {"attributes": _pairs(about)},
        "scopeSpans": [{"scope": {"name": _SCOPE}, "spans": [_otlp_span(one) for one in spans]}],
    }


def _otlp_groups(traces: list[list[_Span]]) -> list[dict[str, Any]]:
    return [
        _resource([span for trace in traces[begin : begin + _OTLP_GROUP] for span in trace])
        for begin in range(0, len(traces), _OTLP_GROUP)
    ]


def _otlp(traces: list[list[_Span]]) -> bytes:
    return orjson.dumps({"resourceSpans": _otlp_groups(traces)})


def _otlp_lines(traces: list[list[_Span]]) -> bytes:
    return _lines({"resourceSpans": [group]} for group in _otlp_groups(traces))


def _tempo(traces: list[list[_Span]]) -> bytes:
    return _lines({"trace": {"resourceSpans": [_resource(trace)]}} for trace in traces)


_JAEGER_TYPES = {str: "string", int: "int64", float: "float64", bool: "bool"}


def _jaeger_span(span: _Span) -> dict[str, Any]:
    parent = {"refType": "CHILD_OF", "traceID": span.trace, "spanID": span.parent}
    attributes = {**span.attributes, "otel.scope.name": _SCOPE, "span.kind": span.kind.lower()}
    return {
        "traceID": span.trace, "spanID": span.id, "flags": 1, "operationName": span.name,
        "references": [parent] if span.parent else [],
        "startTime": span.start_us, "duration": span.took_us,
        "tags": [
            {"key": key, "type": _JAEGER_TYPES[type(value)], "value": value}
            for key, value in attributes.items()
        ],
        "logs": [], "processID": "p1", "warnings": None,
    }  # fmt: skip


def _jaeger(traces: list[list[_Span]]) -> bytes:
    processes = {"p1": {"serviceName": _SERVICE, "tags": []}}
    data = [
        {
            "traceID": trace[0].trace, "spans": [_jaeger_span(one) for one in trace],
            "processes": processes, "warnings": None,
        }
        for trace in traces
    ]  # fmt: skip
    return orjson.dumps({"data": data, "total": 0, "limit": 0, "offset": 0, "errors": None})


def _jaeger_documents(traces: list[list[_Span]]) -> bytes:
    def document(span: _Span) -> dict[str, Any]:
        return {
            "_index": "jaeger-span-2026-11-30", "_id": span.id, "_score": 1,
            "_source": {
                **_jaeger_span(span), "startTimeMillis": span.start_us // 1000,
                "process": {"serviceName": _SERVICE, "tags": []},
            },
        }  # fmt: skip

    return _lines(document(span) for trace in traces for span in trace)


def _zipkin(traces: list[list[_Span]]) -> bytes:
    def document(span: _Span) -> dict[str, Any]:
        parent = {"parentId": span.parent} if span.parent else {}
        kind = {} if span.kind == "INTERNAL" else {"kind": span.kind}
        return {
            "traceId": span.trace, **parent, "id": span.id, **kind, "name": span.name,
            "timestamp": span.start_us, "duration": span.took_us,
            "localEndpoint": {"serviceName": _SERVICE, "ipv4": "127.0.0.1"},
            "tags": {
                "otel.scope.name": _SCOPE, **{k: str(v) for k, v in span.attributes.items()}
            },
        }  # fmt: skip

    return orjson.dumps([[document(span) for span in trace] for trace in traces])


def _clickhouse(traces: list[list[_Span]]) -> bytes:
    def row(span: _Span) -> dict[str, Any]:
        return {
            "Timestamp": _at(span.start_us).replace("T", " ").rstrip("Z") + "000",
            "TraceId": span.trace, "SpanId": span.id, "ParentSpanId": span.parent or "",
            "TraceState": "", "SpanName": span.name, "SpanKind": span.kind.title(),
            "ServiceName": _SERVICE, "ResourceAttributes": {"service.name": _SERVICE},
            "ScopeName": _SCOPE, "ScopeVersion": "",
            "SpanAttributes": {key: str(value) for key, value in span.attributes.items()},
            "Duration": str(span.took_us * 1000), "StatusCode": "Unset", "StatusMessage": "",
            "Events.Timestamp": [], "Events.Name": [], "Events.Attributes": [],
            "Links.TraceId": [], "Links.SpanId": [], "Links.TraceState": [],
            "Links.Attributes": [],
        }  # fmt: skip

    return _lines(row(span) for trace in traces for span in trace)


def _console(traces: list[list[_Span]]) -> bytes:
    def document(span: _Span) -> dict[str, Any]:
        return {
            "name": span.name,
            "context": {
                "trace_id": f"0x{span.trace}", "span_id": f"0x{span.id}", "trace_state": "[]"
            },
            "kind": f"SpanKind.{span.kind}",
            "parent_id": f"0x{span.parent}" if span.parent else None,
            "start_time": _at(span.start_us), "end_time": _at(span.start_us + span.took_us),
            "status": {"status_code": "UNSET"}, "attributes": span.attributes, "events": [],
            "links": [],
            "resource": {"attributes": {"service.name": _SERVICE}, "schema_url": ""},
        }  # fmt: skip

    pretty = [orjson.dumps(document(s), option=orjson.OPT_INDENT_2) for t in traces for s in t]
    return b"\n".join(pretty) + b"\n"


def _at(us: int) -> str:
    return f"{datetime.fromtimestamp(us / 1e6, UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def _lines(documents: Iterator[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(one) + b"\n" for one in documents)


_WRITERS: Mapping[str, Callable[[list[list[_Span]]], bytes]] = {
    "OTLP JSON": _otlp,
    "OTLP JSON lines": _otlp_lines,
    "Tempo": _tempo,
    "Jaeger": _jaeger,
    "Jaeger's Elasticsearch documents": _jaeger_documents,
    "Zipkin v2": _zipkin,
    "ClickHouse JSONEachRow": _clickhouse,
    "Python's console exporter": _console,
}


def files(traces: int) -> Iterator[tuple[str, bytes]]:
    """Give each format's name and the bytes of so many traces in it."""
    spans = list(_traces(traces))
    for name, write in _WRITERS.items():
        yield name, write(spans)
