"""Encoded spans kept in memory and read back with the published protobuf classes."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span


class SpanSink:
    """Takes spans as the exporter would; an oracle for what was put on the wire."""

    def __init__(self) -> None:
        self._encoded: list[bytes] = []

    def __call__(self, span: bytes) -> None:
        """Take one span, framed as a field of ScopeSpans."""
        self._encoded.append(span)

    def clear(self) -> None:
        """Forget the spans so far."""
        self._encoded.clear()

    @property
    def spans(self) -> list[Span]:
        """Return the spans, decoded."""
        return list(ScopeSpans.FromString(b"".join(self._encoded)).spans)

    def named(self, name: str) -> list[Span]:
        """Return the spans of this name."""
        return [span for span in self.spans if span.name == name]


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
