"""Spans on the wire, read back with the published protobuf classes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from opentelemetry.trace import SpanKind, StatusCode

from reference_service.telemetry import wire
from reference_service.telemetry.request_context import read_traceparent
from reference_service.telemetry.spans import CURRENT, NO_SPAN, SpanShape, Tracer
from tests.support.traces.span_sink import SpanSink, attributes

VALUES = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=200),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
)


def _tracer() -> tuple[Tracer, SpanSink]:
    sink = SpanSink()
    return Tracer(sink, random.Random(1)), sink


@given(
    st.dictionaries(
        st.text(st.characters(codec="ascii"), min_size=1, max_size=50), VALUES, max_size=8
    )
)
def test_any_attribute_survives_the_wire(given_attributes: dict[str, object]) -> None:
    """Texts, truth values, integers of 64 bits and floats come back as they were."""
    tracer, sink = _tracer()
    with tracer.span(SpanShape("x")) as span:
        for key, value in given_attributes.items():
            span.set(key, value)  # type: ignore[arg-type]  # the strategies above

    [found] = sink.spans
    assert given_attributes == attributes(found)


@given(st.integers(0, 2**64 - 1))
def test_varints_are_those_of_protobuf(number: int) -> None:
    """The published classes read every length and number back."""
    field = b"\x39" + b"\0" * 8 + b"\x50" + wire.varint(number & 0xFFFF_FFFF)
    assert number & 0xFFFF_FFFF == WireSpan.FromString(field).dropped_attributes_count


def test_a_request_is_one_tree() -> None:
    """Children point to their parent; siblings share it; kinds, names and times are as meant."""
    tracer, sink = _tracer()
    parent = read_traceparent(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    with tracer.root(SpanShape("root", SpanKind.SERVER), parent):
        with tracer.span(SpanShape("first", SpanKind.CLIENT, {"a": "b"})):
            pass
        with tracer.span(SpanShape("second")):
            pass

    first, second, root = sink.spans
    assert ["first", "second", "root"] == [first.name, second.name, root.name]
    assert root.span_id == first.parent_span_id == second.parent_span_id
    assert "b7ad6b7169203331" == root.parent_span_id.hex()
    assert {"0af7651916cd43dd8448eb211c80319c"} == {
        s.trace_id.hex() for s in (first, second, root)
    }
    kinds = (WireSpan.SPAN_KIND_CLIENT, WireSpan.SPAN_KIND_INTERNAL, WireSpan.SPAN_KIND_SERVER)
    assert kinds == (first.kind, second.kind, root.kind)
    assert root.start_time_unix_nano <= first.start_time_unix_nano <= first.end_time_unix_nano
    assert first.end_time_unix_nano <= second.start_time_unix_nano <= root.end_time_unix_nano
    assert (0x101, 0x301) == (first.flags, root.flags)
    assert CURRENT.get() is None


def test_a_failure_is_told_by_class_only() -> None:
    """The span says which error it was, and not what its text says."""
    tracer, sink = _tracer()
    with pytest.raises(LookupError), tracer.span(SpanShape("x")):
        raise LookupError("the user's own words")

    [span] = sink.spans
    assert Status.STATUS_CODE_ERROR == span.status.code
    assert {"error.type": "LookupError"} == attributes(span)
    assert "own words" not in str(span)


def test_the_official_api_works_on_these_spans() -> None:
    """What other libraries call on a span does what they expect."""
    tracer, sink = _tracer()
    with tracer.span(SpanShape("x")) as span:
        span.set_attributes({"a": 1, "b": ["c", "d"]})
        span.add_event("happened", {"e": "f"})
        span.update_name("y")
        span.set_status(StatusCode.OK)
        context = span.get_span_context()
    span.end()

    [found] = sink.spans
    assert ("y", {"a": 1, "b": ["c", "d"]}) == (found.name, attributes(found))
    assert ["happened"] == [event.name for event in found.events]
    assert Status.STATUS_CODE_OK == found.status.code
    assert found.trace_id == context.trace_id.to_bytes(16)
    assert context.is_valid
    assert context.trace_flags.sampled


def test_without_a_sink_nothing_is_recorded() -> None:
    """With tracing off every span is the same empty one."""
    tracer = Tracer(None, random.Random(1))
    with tracer.root(SpanShape("x"), None) as root, tracer.span(SpanShape("y")) as span:
        span.set("a", 1)
        span.add_emulated(5)

    assert root is span is NO_SPAN
    assert not span.is_recording()


def test_a_batch_is_an_export_request() -> None:
    """Framed spans become the request that collectors take."""
    body = wire.trace_request(
        resource_body=wire.resource({"service.name": "chat"}),
        scope_body=wire.scope("reference_service", "1.0.0"),
        spans=[_encoded(name) for name in ("a", "b")],
        schema_url="https://opentelemetry.io/schemas/1.44.0",
    )

    [batch] = ExportTraceServiceRequest.FromString(body).resource_spans
    [scope] = batch.scope_spans
    assert "chat" == batch.resource.attributes[0].value.string_value
    assert ("reference_service", "1.0.0") == (scope.scope.name, scope.scope.version)
    assert ["a", "b"] == [span.name for span in scope.spans]
    assert batch.schema_url == scope.schema_url != ""


def _encoded(name: str) -> bytes:
    taken: list[bytes] = []
    with Tracer(taken.append, random.Random(1)).span(SpanShape(name)):
        pass
    return taken[0]
