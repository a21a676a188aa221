"""A recorder's files read back with the published protobuf classes: an oracle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


def messages(content: bytes) -> Iterator[bytes]:
    """Give the messages of a recorder's file: varint-length-delimited, split by hand."""
    position = 0
    while position < len(content):
        length = shift = 0
        while True:
            byte = content[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        assert position + length <= len(content), "the recording is cut off"
        yield content[position : position + length]
        position += length


def attributes(span: Span) -> dict[str, Any]:
    """Return a span's attributes as plain values."""
    found: dict[str, Any] = {}
    for pair in span.attributes:
        kind = pair.value.WhichOneof("value")
        if kind == "array_value":
            found[pair.key] = [item.string_value for item in pair.value.array_value.values]
        else:
            found[pair.key] = getattr(pair.value, str(kind))
    return found


def read_spans(path: Path) -> tuple[dict[str, Any], list[Span]]:
    """Return the last resource's attributes and all spans of a recorder's file."""
    resource: dict[str, Any] = {}
    spans: list[Span] = []
    for message in messages(path.read_bytes()):
        for batch in ExportTraceServiceRequest.FromString(message).resource_spans:
            resource = {pair.key: pair.value.string_value for pair in batch.resource.attributes}
            for scope in batch.scope_spans:
                spans.extend(scope.spans)
    return resource, spans


def read_metrics(path: Path) -> dict[str, list[Any]]:
    """Return the data points by metric, as the last push had them."""
    last: dict[str, list[Any]] = {}
    for message in messages(path.read_bytes()):
        for batch in ExportMetricsServiceRequest.FromString(message).resource_metrics:
            for scope in batch.scope_metrics:
                for metric in scope.metrics:
                    kind = metric.WhichOneof("data")
                    points = getattr(metric, str(kind)).data_points if kind else []
                    last[metric.name] = list(points)
    return last
