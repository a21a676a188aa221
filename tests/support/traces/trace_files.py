"""The same small trace written in every format, by hand, as other tools write it."""

from __future__ import annotations

import json
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TRACE = "5b8efff798038103d269b633813fc60c"
ROOT, CALL = "eee19b7ec3c1b174", "eee19b7ec3c1b175"
START_US = 1_544_712_660_000_000


def jaeger() -> dict[str, Any]:
    """A POST with a SELECT below it, as Jaeger UI downloads it; superseded attribute names."""
    return {
        "data": [
            {
                "traceID": TRACE,
                "spans": [
                    {
                        "traceID": TRACE, "spanID": ROOT, "operationName": "POST /chat",
                        "references": [], "startTime": START_US, "duration": 1000,
                        "processID": "p1", "logs": [],
                        "tags": [
                            {"key": "span.kind", "type": "string", "value": "server"},
                            {"key": "worthit.arm", "type": "string", "value": "off"},
                            {"key": "worthit.step", "type": "string", "value": "2"},
                            {"key": "worthit.block", "type": "int64", "value": 5},
                        ],
                    },
                    {
                        "traceID": TRACE, "spanID": CALL.upper(), "operationName": "SELECT carts",
                        "references": [{"refType": "CHILD_OF", "traceID": TRACE, "spanID": ROOT}],
                        "startTime": START_US + 100, "duration": 300, "processID": "p1",
                        "tags": [
                            {"key": "span.kind", "type": "string", "value": "client"},
                            {"key": "db.system", "type": "string", "value": "postgresql"},
                            {"key": "db.operation", "type": "string", "value": "SELECT"},
                            {"key": "db.sql.table", "type": "string", "value": "carts"},
                            {"key": "db.statement", "type": "string", "value": "SELECT 1"},
                            {"key": "error", "type": "bool", "value": True},
                        ],
                    },
                ],
                "processes": {"p1": {"serviceName": "chat", "tags": []}},
            }
        ]
    }  # fmt: skip


def _text(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


def otlp() -> dict[str, Any]:
    """The same as an OTLP exporter writes it: today's names, int64 as text, upper-case ids."""
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": [_text("service.name", "chat")]},
                "scopeSpans": [
                    {
                        "scope": {"name": "lib"},
                        "spans": [
                            {
                                "traceId": TRACE.upper(), "spanId": ROOT.upper(),
                                "name": "POST /chat", "kind": 2,
                                "startTimeUnixNano": str(START_US * 1000),
                                "endTimeUnixNano": str((START_US + 1000) * 1000),
                                "attributes": [
                                    _text("worthit.arm", "off"), _text("worthit.step", "2"),
                                    {"key": "worthit.block", "value": {"intValue": "5"}},
                                ],
                            },
                            {
                                "traceId": TRACE.upper(), "spanId": CALL.upper(),
                                "parentSpanId": ROOT.upper(), "name": "SELECT carts",
                                "kind": "SPAN_KIND_CLIENT",
                                "startTimeUnixNano": (START_US + 100) * 1000,
                                "endTimeUnixNano": (START_US + 400) * 1000,
                                "status": {"code": 2},
                                "attributes": [
                                    _text("db.system.name", "postgresql"),
                                    _text("db.operation.name", "SELECT"),
                                    _text("db.collection.name", "carts"),
                                    _text("db.statement", "SELECT 1"),
                                    {"key": "error", "value": {"boolValue": True}},
                                ],
                            },
                        ],
                    }
                ],
            }
        ]
    }  # fmt: skip


def zipkin() -> list[dict[str, Any]]:
    """The same as Zipkin v2 has it."""
    here = {"localEndpoint": {"serviceName": "chat"}}
    return [
        {
            "traceId": TRACE, "id": ROOT, "name": "POST /chat", "kind": "SERVER",
            "timestamp": START_US, "duration": 1000, **here,
            "tags": {"worthit.arm": "off", "worthit.step": "2", "worthit.block": "5"},
        },
        {
            "traceId": TRACE, "id": CALL, "parentId": ROOT, "name": "SELECT carts",
            "kind": "CLIENT", "timestamp": START_US + 100, "duration": 300, **here,
            "tags": {
                "db.system": "postgresql", "db.operation": "SELECT", "db.sql.table": "carts",
                "db.statement": "SELECT 1", "error": "true",
            },
        },
    ]  # fmt: skip


def request() -> ExportTraceServiceRequest:
    """The same as a protobuf message."""
    message = ExportTraceServiceRequest()
    resource = message.resource_spans.add()
    about = resource.resource.attributes.add(key="service.name")
    about.value.string_value = "chat"
    scope = resource.scope_spans.add()
    for span in otlp()["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        one = scope.spans.add(
            trace_id=bytes.fromhex(span["traceId"]),
            span_id=bytes.fromhex(span["spanId"]),
            parent_span_id=bytes.fromhex(span.get("parentSpanId", "")),
            name=span["name"],
            kind=2 if span["kind"] == 2 else 3,
            start_time_unix_nano=int(span["startTimeUnixNano"]),
            end_time_unix_nano=int(span["endTimeUnixNano"]),
        )
        one.status.code = span.get("status", {}).get("code", 0)
        for attribute in span["attributes"]:
            value = one.attributes.add(key=attribute["key"]).value
            for kind, content in attribute["value"].items():
                if kind == "stringValue":
                    value.string_value = content
                elif kind == "boolValue":
                    value.bool_value = content
                else:
                    value.int_value = int(content)
    return message


def delimited(*messages: ExportTraceServiceRequest) -> bytes:
    """Messages one after the other, each after its length as a varint: a recorder's file."""
    found = b""
    for message in messages:
        body = message.SerializeToString()
        length, varint = len(body), b""
        while length > 127:
            varint += bytes([length & 127 | 128])
            length >>= 7
        found += varint + bytes([length]) + body
    return found


def text(document: object) -> bytes:
    """A document as JSON."""
    return json.dumps(document).encode()
