"""Spans and metrics kept in memory as the SDK recorded them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    HistogramDataPoint,
    InMemoryMetricReader,
    NumberDataPoint,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from reference_service.telemetry.setup import Telemetry


class SpanSink:
    """A process's telemetry, exported to this object alone."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        prometheus = CollectorRegistry()
        tracers = TracerProvider(shutdown_on_exit=False)
        tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        meters = MeterProvider(
            [self._reader, PrometheusMetricReader(registry=prometheus, scope_info_enabled=False)],
            shutdown_on_exit=False,
        )
        self.telemetry = Telemetry(
            tracer=tracers.get_tracer("test"),
            meter=meters.get_meter("test"),
            prometheus=prometheus,
            shutdown=lambda: None,
        )

    def clear(self) -> None:
        """Forget the spans so far."""
        self._exporter.clear()

    @property
    def spans(self) -> list[ReadableSpan]:
        """Return the ended spans."""
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the spans of this name."""
        return [span for span in self.spans if span.name == name]

    def points(self, metric: str) -> list[NumberDataPoint | HistogramDataPoint]:
        """Return a metric's data points; none when nothing was recorded."""
        data = self._reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for found in scope.metrics
            if found.name == metric
            for point in found.data.data_points
        ]

    def counts(self, metric: str, label: str, **labels: str) -> dict[str, int]:
        """Return a counter's values by one of its labels, where the others are as given."""
        return {
            str(labelled[label]): int(point.value)
            for point in self.points(metric)
            if isinstance(point, NumberDataPoint)
            for labelled in [dict(point.attributes or {})]
            if labels.items() <= labelled.items()
        }


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Return a span's attributes as plain values."""
    found: Mapping[str, Any] = span.attributes or {}
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in found.items()
    }
