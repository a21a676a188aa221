"""One small service's traces as Jaeger, OTLP and Zipkin write them: requests of so many queries.

Each request is a SERVER span of 20 ms over queries of 4 ms each, ten requests a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

START_US = 1_760_000_000_000_000
REQUEST_US, QUERY_US, APART_US = 20_000, 4_000, 100_000
NAME, SERVICE = "GET /orders", "shop"
QUERY = {"db.system.name": "postgresql", "db.operation.name": "SELECT"}


def _spans(
    requests: int, queries: int, salt: int
) -> Iterator[tuple[str, str, str | None, int, int, dict[str, str]]]:
    """Trace id, span id, parent, start and duration in us, tags."""
    for number in range(requests):
        trace, root = f"{salt:016x}{number + 1:016x}", f"{salt:04x}{number + 1:08x}0000"
        start = START_US + number * APART_US
        yield trace, root, None, start, REQUEST_US, {}
        for query in range(queries):
            at = start + 1_000 + query * (QUERY_US + 500)
            text = {"db.query.text": "SELECT total FROM orders WHERE id = $1"}
            yield trace, f"{root[:12]}{query + 1:04x}", root, at, QUERY_US, {**QUERY, **text}


def jaeger(
    *, requests: int, queries: int, salt: int, version: str = "1", arm: str | None = None
) -> dict[str, Any]:
    """As Jaeger UI downloads them; the version is a tag of the process."""
    traces: dict[str, list[dict[str, Any]]] = {}
    for trace, span, parent, start, duration, tags in _spans(requests, queries, salt):
        kind = "server" if parent is None else "client"
        named = {"worthit.arm": arm} if arm and parent is None else {}
        traces.setdefault(trace, []).append(
            {
                "traceID": trace, "spanID": span, "processID": "p1", "startTime": start,
                "operationName": NAME if parent is None else "SELECT orders",
                "duration": duration,
                "references": [{"refType": "CHILD_OF", "traceID": trace, "spanID": parent}]
                if parent else [],
                "tags": [
                    {"key": key, "type": "string", "value": value}
                    for key, value in {"span.kind": kind, **tags, **named}.items()
                ],
            }
        )  # fmt: skip
    process = {
        "serviceName": SERVICE,
        "tags": [{"key": "service.version", "type": "string", "value": version}],
    }
    return {
        "data": [
            {"traceID": trace, "spans": spans, "processes": {"p1": process}}
            for trace, spans in traces.items()
        ]
    }


def otlp(
    *,
    requests: int,
    queries: int,
    salt: int,
    version: str = "1",
    arm: str | None = None,
    state: str = "",
) -> dict[str, Any]:
    """As an OTLP exporter writes them; the version is an attribute of the resource."""
    spans = []
    for trace, span, parent, start, duration, tags in _spans(requests, queries, salt):
        named = {"worthit.arm": arm} if arm and parent is None else {}
        spans.append(
            {
                "traceId": trace, "spanId": span, "parentSpanId": parent or "",
                "name": NAME if parent is None else "SELECT orders",
                "kind": 2 if parent is None else 3, "traceState": state,
                "startTimeUnixNano": str(start * 1000),
                "endTimeUnixNano": str((start + duration) * 1000),
                "attributes": [_text(key, value) for key, value in {**tags, **named}.items()],
            }
        )  # fmt: skip
    resource = [_text("service.name", SERVICE), _text("service.version", version)]
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": resource},
                "scopeSpans": [{"scope": {"name": "lib"}, "spans": spans}],
            }
        ]
    }


def zipkin(
    *, requests: int, queries: int, salt: int, version: str = "1", arm: str | None = None
) -> list[dict[str, Any]]:
    """As Zipkin v2 has them; the version is a tag of every span."""
    return [
        {
            "traceId": trace, "id": span, **({"parentId": parent} if parent else {}),
            "name": NAME if parent is None else "SELECT orders",
            "kind": "SERVER" if parent is None else "CLIENT",
            "timestamp": start, "duration": duration, "localEndpoint": {"serviceName": SERVICE},
            "tags": {
                **tags, "service.version": version,
                **({"worthit.arm": arm} if arm and parent is None else {}),
            },
        }
        for trace, span, parent, start, duration, tags in _spans(requests, queries, salt)
    ]  # fmt: skip


def _text(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}
