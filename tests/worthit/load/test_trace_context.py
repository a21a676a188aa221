from __future__ import annotations

import pytest
from opentelemetry import baggage, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tests.support.load.load_plans import a_block
from worthit.load.requests.trace_context import (
    Identifiers,
    baggage_before_draw,
    given_ids,
    propagated_ids,
    traceparent,
)


def test_opentelemetry_reads_our_traceparent() -> None:
    """OpenTelemetry's own propagator finds the ids we sent, sampled."""
    both = Identifiers().both()
    trace_id, span_id = both[:16], both[16:]

    context = TraceContextTextMapPropagator().extract({"traceparent": traceparent(both)})

    found = trace.get_current_span(context).get_span_context()
    assert found.trace_id == int.from_bytes(trace_id, "big")
    assert found.span_id == int.from_bytes(span_id, "big")
    assert found.trace_flags.sampled


def test_opentelemetry_reads_our_baggage() -> None:
    """OpenTelemetry's own propagator finds all six values, escaped where they need it."""
    header = (
        baggage_before_draw("nightly, 100 %", a_block(block=12, step=2, arm='on; "new"=ü'), "chat")
        + "42"
    )

    context = W3CBaggagePropagator().extract({"baggage": header})

    assert dict(baggage.get_all(context)) == {
        "worthit.run": "nightly, 100 %",
        "worthit.arm": 'on; "new"=ü',
        "worthit.step": "2",
        "worthit.block": "12",
        "worthit.scenario": "chat",
        "worthit.draw": "42",
    }


def test_ids_do_not_repeat() -> None:
    """Ten thousand trace ids, from two processes' generators, are all different."""
    first, second = Identifiers(), Identifiers()

    ids = {source.both()[:16] for source in (first, second) for _ in range(5000)}

    assert len(ids) == 10_000


def test_a_strangers_traceparent_is_read() -> None:
    """The trace id of somebody's own header is taken over; nonsense is not."""
    own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    nonsense = ("", "00", "00-xyz-1-01", "00-ab-0-01", f"00-{'0' * 32}-{'1' * 16}-01")

    assert given_ids(own) == bytes.fromhex("0af7651916cd43dd8448eb211c80319cb7ad6b7169203331")
    assert [given_ids(text) for text in nonsense] == [None] * len(nonsense)


@pytest.mark.parametrize(
    "headers",
    [
        {"b3": f"{'a' * 32}-{'b' * 16}-1"},
        {"x-b3-traceid": "a" * 32, "x-b3-spanid": "b" * 16},
        {"uber-trace-id": f"{'a' * 32}:{'b' * 16}:0:1"},
        {"uber-trace-id": f"{'a' * 32}%3A{'b' * 16}%3A0%3A1"},
    ],
)
def test_other_propagators_ids_are_taken_over(headers: dict[str, str]) -> None:
    """B3 in one header or two, and Jaeger's: the trace that an instrumentation has begun."""
    assert propagated_ids(headers) == bytes.fromhex("a" * 32 + "b" * 16)
    assert propagated_ids(dict.fromkeys(headers, "nonsense")) is None
