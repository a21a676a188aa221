"""Metrics on their way out: every digit, the conventions' buckets, the right kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from reference_service.telemetry import prometheus
from reference_service.telemetry.call_durations import CallDurations
from reference_service.telemetry.metric_export import encode
from reference_service.telemetry.metrics import Labels, Registry
from reference_service.telemetry.spans import SpanShape


def _exported(registry: Registry) -> dict[str, Metric]:
    body = encode(registry, {}, "test", 1, 2)
    [resource] = ExportMetricsServiceRequest.FromString(body).resource_metrics
    return {metric.name: metric for metric in resource.scope_metrics[0].metrics}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1234567.25, "1234567.25"),
        (12345678, "12345678"),
        (0.1 + 0.2, "0.30000000000000004"),
        (0.0, "0"),
        (1e22, "1e+22"),
    ],
)
def test_no_digit_is_lost_in_the_text(value: float, shown: str) -> None:
    """A counter that has grown to millions still shows what the last request added."""
    registry = Registry()
    registry.counter("a.b", "1", "Something.").add(value)

    assert f"a_b_total {shown}" in prometheus.text(registry).splitlines()


def test_the_sum_of_a_histogram_keeps_its_digits() -> None:
    """Two scrapes around a millisecond differ by it, also after a week of seconds."""
    registry = Registry()
    histogram = registry.histogram("a", "s", "Something.")
    histogram.record(604_800.0)
    histogram.record(0.001)

    assert "a_seconds_sum 604800.001" in prometheus.text(registry).splitlines()


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        (
            "http.server.request.duration",
            [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
        ),
        ("db.client.operation.duration", [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]),
        (
            "gen_ai.client.operation.duration",
            [0.01 * 2**power for power in range(14)],
        ),
        (
            "gen_ai.client.token.usage",
            [4**power for power in range(14)],
        ),
    ],
)
def test_buckets_are_those_of_the_conventions(name: str, bounds: list[float]) -> None:
    """Each metric has the boundaries that its convention advises."""
    registry = Registry()
    registry.histogram(name, "s", "Something.").record(1.0)

    [point] = _exported(registry)[name].histogram.data_points
    assert bounds == list(point.explicit_bounds)


def test_what_goes_up_and_down_is_a_sum_that_is_not_monotonic() -> None:
    """An UpDownCounter may be added up over processes, and is no rate."""

    def read() -> Iterator[tuple[Labels, float]]:
        yield (("state", "used"),), 3.0

    registry = Registry()
    registry.observe("db.client.connection.count", "1", "By state.", read, kind="updowncounter")
    registry.counter("grows", "1", "Something.").add()
    found = _exported(registry)

    assert ("sum", False) == _kind(found["db.client.connection.count"])
    assert ("sum", True) == _kind(found["grows"])
    assert "# TYPE db_client_connection_count gauge" in prometheus.text(registry)


def _kind(metric: Metric) -> tuple[str | None, bool]:
    return metric.WhichOneof("data"), metric.sum.is_monotonic


def test_failed_calls_are_told_apart() -> None:
    """Durations of failures carry their type and the server's code, those of successes neither."""
    registry = Registry()
    shape = SpanShape("x", attributes={"db.system.name": "postgresql", "db.query.text": "SELECT"})
    durations = CallDurations(registry, shape)
    durations.succeeded(0.1)
    durations.failed(0.2, "57014", "57014")
    durations.failed(0.3, "PoolTimeout")

    system = ("db.system.name", "postgresql")
    expected = {
        (system,),
        (system, ("error.type", "57014"), ("db.response.status_code", "57014")),
        (system, ("error.type", "PoolTimeout")),
    }
    assert expected == registry.instruments["db.client.operation.duration"].series.keys()
