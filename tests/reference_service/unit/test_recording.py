"""Spans that tell no secrets, and histograms with the conventions' buckets."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics.export import HistogramDataPoint
from opentelemetry.trace import StatusCode

from reference_service.telemetry.metrics import Instruments
from reference_service.telemetry.spans import recorded
from tests.support.traces.span_sink import SpanSink, attributes


def test_a_failure_is_told_by_class_only() -> None:
    """The span says which error it was, and not what its text says."""
    sink = SpanSink()
    with pytest.raises(LookupError), recorded(sink.telemetry.tracer, "x"):
        raise LookupError("the user's own words")

    [span] = sink.spans
    assert StatusCode.ERROR is span.status.status_code
    assert {"error.type": "LookupError"} == attributes(span)
    assert "own words" not in span.to_json()


def test_buckets_are_those_of_the_conventions() -> None:
    """Each metric has the boundaries that its convention advises."""
    sink = SpanSink()
    instruments = Instruments(sink.telemetry.meter)
    expected = {
        "http.server.request.duration": (
            instruments.request_duration,
            (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
        ),
        "db.client.operation.duration": (
            instruments.database_duration,
            (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10),
        ),
        "gen_ai.client.operation.duration": (
            instruments.model_duration,
            (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96,
             81.92),
        ),
    }  # fmt: skip
    for histogram, _ in expected.values():
        histogram.record(1)

    for name, (_, bounds) in expected.items():
        [point] = sink.points(name)
        assert isinstance(point, HistogramDataPoint)
        assert bounds == tuple(point.explicit_bounds)
