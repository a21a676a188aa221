"""Chat traces as OTLP, built with the published protobuf classes and with plain JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.traces.recorded_spans import messages

BEGAN_NS = 1_800_000_000_000_000_000
"""When the first trace begins."""

STAGES: tuple[tuple[str, int, int, dict[str, str]], ...] = (
    ("POST /chat", 2, 3000, {"http.request.method": "POST", "http.route": "/chat"}),
    ("personality.lookup", 1, 8, {"cache.hit": "true", "cache.source": "redis"}),
    ("GET", 3, 1, {"db.system.name": "redis", "db.operation.name": "GET"}),
    ("preferences.load", 1, 70, {"code.function.name": "load"}),
    ("SELECT preferences", 3, 4, {"db.system.name": "postgresql", "db.operation.name": "SELECT"}),
    ("memory.retrieve", 1, 300, {"memory.k": "5"}),
    ("embeddings sim-embed", 3, 20, {"gen_ai.operation.name": "embeddings"}),
    ("SELECT memories", 3, 12, {"db.system.name": "postgresql", "db.operation.name": "SELECT"}),
    ("emotion.detect", 1, 200, {"emotion.label": "calm"}),
    (
        "chat sim-chat",
        3,
        2300,
        {"gen_ai.operation.name": "chat", "gen_ai.request.model": "sim-chat"},
    ),
)
"""Name, kind (OTLP's number), milliseconds, attributes of each span; the first is the root."""

SHARED = {
    "worthit.run": "20261123T140000Z_bench",
    "worthit.arm": "off",
    "worthit.step": "1",
    "server.address": "127.0.0.1",
    "code.function.name": "a text as long as the statements of a small service",
}
"""Attributes that every span has besides its own."""


def _ids(trace: int, span: int) -> tuple[bytes, bytes]:
    return (trace + 1).to_bytes(16, "big"), (trace * 100 + span + 1).to_bytes(8, "big")


def batch_of_traces(traces: Iterable[int], service: str = "chat") -> bytes:
    """The export request, in protobuf, that holds these traces."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = service
    scope = resource.scope_spans.add()
    scope.scope.name = "tests"
    for trace in traces:
        for index, (name, kind, milliseconds, attributes) in enumerate(STAGES):
            span = scope.spans.add()
            span.trace_id, span.span_id = _ids(trace, index)
            if index:
                span.parent_span_id = _ids(trace, 0)[1]
            span.name, span.kind = name, kind
            span.start_time_unix_nano = BEGAN_NS + trace * 1_000_000 + index
            span.end_time_unix_nano = span.start_time_unix_nano + milliseconds * 1_000_000
            for key, value in {**attributes, **SHARED}.items():
                span.attributes.add(key=key).value.string_value = value
    return request.SerializeToString()


def json_of_traces(traces: Iterable[int], service: str = "chat") -> bytes:
    """The same as `batch_of_traces` in OTLP/JSON: ids in hexadecimal, times as strings."""

    def attribute(key: str, value: str) -> dict[str, Any]:
        return {"key": key, "value": {"stringValue": value}}

    spans = []
    for trace in traces:
        for index, (name, kind, milliseconds, attributes) in enumerate(STAGES):
            began = BEGAN_NS + trace * 1_000_000 + index
            span = {
                "traceId": _ids(trace, index)[0].hex(),
                "spanId": _ids(trace, index)[1].hex().upper(),
                "name": name,
                "kind": kind,
                "startTimeUnixNano": str(began),
                "endTimeUnixNano": str(began + milliseconds * 1_000_000),
                "attributes": [attribute(k, v) for k, v in {**attributes, **SHARED}.items()],
            }
            if index:
                span["parentSpanId"] = _ids(trace, 0)[1].hex()
            spans.append(span)
    scope = {"scope": {"name": "tests"}, "spans": spans}
    resource = {"attributes": [attribute("service.name", service)]}
    return orjson.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]})


def spans_in(request: ExportTraceServiceRequest) -> int:
    """How many spans an export request has."""
    return sum(len(s.spans) for r in request.resource_spans for s in r.scope_spans)


def read_recording(data: bytes) -> list[ExportTraceServiceRequest]:
    """The batches of a recording, without the recorder's own code."""
    return [ExportTraceServiceRequest.FromString(message) for message in messages(data)]
