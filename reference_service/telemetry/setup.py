"""Starts the OpenTelemetry SDK: providers, exporters and their limits, in one place.

The standard OTEL_* variables say what is exported, where to and how. Without an OTLP endpoint
nothing is, and spans cost next to nothing; `GET /metrics` always works.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Meter, NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import NoOpTracerProvider, Tracer
from prometheus_client import CollectorRegistry
from typing_extensions import override

_LOG = logging.getLogger(__name__)

DEFAULTS: Final = {
    "OTEL_SERVICE_NAME": "chat",
    # A chat has 14 spans: at 300 chats/s this is 15 s, the SDK's own 2,048 half a second.
    "OTEL_BSP_MAX_QUEUE_SIZE": "65536",
    # Little and often: encoding holds the interpreter for 39 us a span, and requests wait.
    "OTEL_BSP_SCHEDULE_DELAY": "200",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "256",
    # Seconds for a batch with its retries. The usual 10 lose spans in an outage of 12.
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "60",
    "OTEL_METRIC_EXPORT_INTERVAL": "5000",
    # `otel.sdk.processor.span.processed` counts the spans that found the queue full.
    "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "true",
}
"""The standard variables, where the environment does not set them."""
SCOPE: Final = "reference_service"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
_FLUSH_SECONDS: Final = 3.0
_GIVE_UP_SECONDS: Final = 0.5
_METRICS_SECONDS: Final = 1.5
"""Together 5 s: a collector that is gone must not keep a process from ending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """What the service's parts record with."""

    tracer: Tracer
    meter: Meter
    prometheus: CollectorRegistry
    """What `GET /metrics` shows."""
    shutdown: Callable[[], None]
    """Sends what is left, for 5 s at most."""


def from_environment() -> Telemetry:
    """Start the SDK as the OTEL_* variables say."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    resource = Resource.create({"service.instance.id": str(uuid4())})
    prometheus = CollectorRegistry()
    shown = PrometheusMetricReader(registry=prometheus, scope_info_enabled=False)
    if not _exporting():
        meters = MeterProvider([shown], resource, shutdown_on_exit=False)
        return Telemetry(
            tracer=NoOpTracerProvider().get_tracer(SCOPE),
            meter=meters.get_meter(SCOPE, schema_url=SCHEMA_URL),
            prometheus=prometheus,
            shutdown=meters.shutdown,
        )
    span_exporter, metric_exporter = _exporters()
    pushed = PeriodicExportingMetricReader(metric_exporter)
    meters = MeterProvider([shown, pushed], resource, shutdown_on_exit=False)
    meter = meters.get_meter(SCOPE, schema_url=SCHEMA_URL)
    counted = CountedExporter(span_exporter, meter)
    # The SDK's metrics of each span would cost a chat 14 recordings: of its queue are enough.
    tracers = TracerProvider(
        resource=resource, shutdown_on_exit=False, meter_provider=NoOpMeterProvider()
    )
    tracers.add_span_processor(BatchSpanProcessor(counted, meter_provider=meters))
    return Telemetry(
        tracer=tracers.get_tracer(SCOPE, schema_url=SCHEMA_URL),
        meter=meter,
        prometheus=prometheus,
        shutdown=lambda: _shut_down(tracers, counted, meters),
    )


class CountedExporter(SpanExporter):
    """Counts what became of the spans that left the queue.

    The exporter's own count takes every answer for a success, also one that refuses the spans.
    """

    def __init__(self, inner: SpanExporter, meter: Meter) -> None:
        self._inner = inner
        self._exported = meter.create_counter(
            "otel.sdk.exporter.span.exported", "{span}", "Spans sent, and spans lost on the way."
        )

    @override
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        lost = result is not SpanExportResult.SUCCESS
        self._exported.add(len(spans), {"error.type": "export_failed"} if lost else {})
        return result

    @override
    def shutdown(self) -> None:
        self._inner.shutdown()


def _exporting() -> bool:
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return not disabled and any(os.environ.get(name) for name in endpoints)


def _exporters() -> tuple[SpanExporter, MetricExporter]:
    """Return the OTLP exporters for OTEL_EXPORTER_OTLP_PROTOCOL; they read all else themselves."""
    if os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") == "grpc":
        # Imported only where it is asked for: grpc takes a tenth of a second and 20 MB.
        from opentelemetry.exporter.otlp.proto.grpc import (  # noqa: PLC0415 - as above
            metric_exporter,
            trace_exporter,
        )

        return (
            trace_exporter.OTLPSpanExporter(meter_provider=NoOpMeterProvider()),
            metric_exporter.OTLPMetricExporter(),
        )
    return OTLPSpanExporter(meter_provider=NoOpMeterProvider()), OTLPMetricExporter()


def _shut_down(tracers: TracerProvider, exporter: SpanExporter, meters: MeterProvider) -> None:
    """Send the spans that wait, then the last state of the metrics.

    The SDK itself would wait 30 s for a collector that does not answer.
    """
    flushing = threading.Thread(target=tracers.shutdown, daemon=True)
    flushing.start()
    flushing.join(_FLUSH_SECONDS)
    if flushing.is_alive():
        _LOG.warning("Telemetry: the collector does not take the last spans; they are lost")
        exporter.shutdown()  # no more retries: what waits is counted as lost
        flushing.join(_GIVE_UP_SECONDS)
    meters.shutdown(timeout_millis=_METRICS_SECONDS * 1000)
