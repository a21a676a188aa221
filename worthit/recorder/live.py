"""What is going on right now? A rough look at the last seconds' spans, decoded only when asked.

Rough on purpose: only whole batches are looked at, and self time subtracts the children's
durations without regard to their overlap. The report's numbers come from `analysis`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from worthit.contract import names

MAX_SPANS = 20_000
"""Looked at in one go, newest first, so that a question never costs more than about 0.2 s."""


def live(batches: Sequence[bytes], seconds: float) -> dict[str, Any]:
    """By operation: service, name, spans_per_s, mean_self_ms, queries_per_s; the busiest first."""
    spans = _decode(batches)
    in_children: dict[bytes, int] = defaultdict(int)
    queries: dict[bytes, int] = defaultdict(int)
    for _service, span in spans:
        in_children[span.parent_span_id] += _duration(span)
        if _is_query(span):
            queries[span.parent_span_id] += 1
    found: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for service, span in spans:
        row = found[service, span.name]
        row[0] += 1
        row[1] += max(0, _duration(span) - in_children.get(span.span_id, 0))
        row[2] += queries.get(span.span_id, 0)
    operations = [
        {
            "service": service,
            "name": name,
            "spans_per_s": count / seconds,
            "mean_self_ms": self_ns / count / 1e6,
            "queries_per_s": called / seconds,
        }
        for (service, name), (count, self_ns, called) in found.items()
    ]
    operations.sort(key=lambda row: -float(str(row["spans_per_s"])))
    return {
        "seconds": seconds,
        "spans": len(spans),
        "truncated": len(spans) >= MAX_SPANS,
        "queries_per_s": sum(queries.values()) / seconds,
        "operations": operations,
    }


def _decode(batches: Sequence[bytes]) -> list[tuple[str, Any]]:
    """(service, span) of the newest batches, up to MAX_SPANS or a little more."""
    spans: list[tuple[str, Any]] = []
    for data in reversed(batches):
        for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
            service = _service(resource)
            spans.extend((service, span) for scope in resource.scope_spans for span in scope.spans)
        if len(spans) >= MAX_SPANS:
            break
    return spans


def _service(resource: Any) -> str:  # noqa: ANN401 - a generated class
    for attribute in resource.resource.attributes:
        if attribute.key == names.SERVICE_NAME:
            return str(attribute.value.string_value)
    return "unknown_service"


def _duration(span: Any) -> int:  # noqa: ANN401 - a generated class
    return max(0, int(span.end_time_unix_nano) - int(span.start_time_unix_nano))


def _is_query(span: Any) -> bool:  # noqa: ANN401 - a generated class
    """A call of a database that is not a cache."""
    for attribute in span.attributes:
        if attribute.key in {"db.system.name", "db.system"}:
            return attribute.value.string_value not in {"redis", "memcached", "valkey"}
    return False
