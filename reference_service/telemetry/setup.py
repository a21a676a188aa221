"""Starts the OpenTelemetry SDK: providers, exporters and their limits, in one place.

The standard OTEL_* variables say what is exported, where to and how. Without an OTLP endpoint
nothing is, and spans cost next to nothing; `GET /metrics` always works.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import requests
from google.protobuf.message import DecodeError
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Meter, NoOpMeterProvider
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricReader,
    PeriodicExportingMetricReader,
)
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
    # An exemplar leads from a metric to a trace. Here traces say more than metrics anyway, and
    # each recording would offer one to both readers: a twentieth of a chat's calls.
    "OTEL_METRICS_EXEMPLAR_FILTER": "always_off",
    # `otel.sdk.processor.span.processed` counts the spans that found the queue full.
    "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "true",
}
"""The standard variables, where the environment does not set them."""
SCOPE: Final = "reference_service"
_HTTP: Final = "http/protobuf"
_GRPC: Final = "grpc"
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
    """Start the SDK as the OTEL_* variables say; raises UnknownExporterError."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    traced, pushed = protocol("TRACES"), protocol("METRICS")
    resource = Resource.create({"service.instance.id": str(uuid4())})
    prometheus = CollectorRegistry()
    readers: list[MetricReader] = [
        PrometheusMetricReader(registry=prometheus, scope_info_enabled=False)
    ]
    if pushed is not None:
        readers.append(PeriodicExportingMetricReader(_metric_exporter(pushed)))
    meters = MeterProvider(readers, resource, shutdown_on_exit=False)
    meter = meters.get_meter(SCOPE, schema_url=SCHEMA_URL)
    if traced is None:
        return Telemetry(
            tracer=NoOpTracerProvider().get_tracer(SCOPE),
            meter=meter,
            prometheus=prometheus,
            shutdown=lambda: meters.shutdown(timeout_millis=_METRICS_SECONDS * 1000),
        )
    exporter = CountedExporter(traced, meter)
    # The SDK's metrics of each span would cost a chat 14 recordings: of its queue are enough.
    tracers = TracerProvider(
        resource=resource, shutdown_on_exit=False, meter_provider=NoOpMeterProvider()
    )
    tracers.add_span_processor(BatchSpanProcessor(exporter, meter_provider=meters))
    return Telemetry(
        tracer=tracers.get_tracer(SCOPE, schema_url=SCHEMA_URL),
        meter=meter,
        prometheus=prometheus,
        shutdown=lambda: _shut_down(tracers, exporter, meters),
    )


def protocol(signal: str) -> str | None:
    """Return the protocol of OTLP that TRACES or METRICS are to be sent by; None for not at all.

    Raises UnknownExporterError for what the standard knows and this service does not.
    """
    exporter = _variable(f"OTEL_{signal}_EXPORTER") or "otlp"
    if exporter not in ("otlp", "none"):
        raise UnknownExporterError(f"OTEL_{signal}_EXPORTER", exporter, "otlp or none")
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    disabled = _variable("OTEL_SDK_DISABLED").lower() == "true"
    if disabled or exporter == "none" or not any(_variable(name) for name in endpoints):
        return None
    for name in (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if wanted := _variable(name):
            if wanted not in (_HTTP, _GRPC):
                raise UnknownExporterError(name, wanted, f"{_HTTP} or {_GRPC}")
            return wanted
    return _HTTP


class UnknownExporterError(ValueError):
    """A standard variable asks for an exporter or a protocol that is not here."""

    def __init__(self, variable: str, value: str, expected: str) -> None:
        super().__init__(f"{variable} is {value!r}; expected {expected}.")


class CountedExporter(SpanExporter):
    """Sends spans by OTLP, and counts what became of those that left the queue.

    The exporter's own count takes every answer for a success, also one that refuses the spans, and
    nobody reads how many of a batch a collector says that it rejected (`partial_success`).
    """

    def __init__(self, by: str, meter: Meter) -> None:
        self._rejected = 0
        self._inner = _span_exporter(by, self._read)
        self._exported = meter.create_counter(
            "otel.sdk.exporter.span.exported", "{span}", "Spans sent, and spans lost on the way."
        )

    @override
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._rejected = 0
        result = self._inner.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._exported.add(len(spans), {"error.type": "export_failed"})
            return result
        self._exported.add(len(spans) - self._rejected)
        if self._rejected:
            self._exported.add(self._rejected, {"error.type": "rejected"})
        return result

    @override
    def shutdown(self) -> None:
        self._inner.shutdown()

    def _read(self, response: requests.Response, *_: object, **__: object) -> None:
        """Note what a collector rejected of the batch that is being sent."""
        with suppress(DecodeError):  # an answer without a word on it: the status decides
            said = ExportTraceServiceResponse.FromString(response.content)
            self._rejected = said.partial_success.rejected_spans


def _span_exporter(by: str, read: Callable[..., None]) -> SpanExporter:
    """Return OTLP's exporter, which reads the other variables; `read` gets each answer by HTTP."""
    if by == _GRPC:
        # Imported only where it is asked for: grpc takes a tenth of a second and 20 MB.
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415 - as above
            OTLPSpanExporter as GrpcSpanExporter,
        )

        return GrpcSpanExporter(meter_provider=NoOpMeterProvider())
    session = requests.Session()
    session.hooks["response"].append(read)
    return OTLPSpanExporter(session=session, meter_provider=NoOpMeterProvider())


def _metric_exporter(by: str) -> MetricExporter:
    if by == _GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (  # noqa: PLC0415 - 0.1 s, 20 MB
            OTLPMetricExporter as GrpcMetricExporter,
        )

        return GrpcMetricExporter()
    return OTLPMetricExporter()


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()


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
