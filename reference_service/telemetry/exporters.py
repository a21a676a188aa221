"""Exports a process's spans and metrics to the collector that the settings name, if any."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import time_ns
from typing import Final
from uuid import uuid4

from opentelemetry.sdk.resources import Resource

from reference_service.settings import Settings
from reference_service.telemetry import metric_export, wire
from reference_service.telemetry.export import OtlpPoster, SpanExporter
from reference_service.telemetry.metrics import Labels, Registry

_SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
_SCOPE: Final = "reference_service"
_SCOPE_VERSION: Final = "1.0.0"


class Exporters:
    """The span and metric exporters; without an endpoint, or with OTEL_SDK_DISABLED, none."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._registry = registry
        self._spans: SpanExporter | None = None
        self._metrics: metric_export.MetricExporter | None = None
        endpoint = settings.otel_exporter_otlp_endpoint
        if endpoint and not settings.otel_sdk_disabled:
            self._open(endpoint, settings)

    @property
    def span_sink(self) -> Callable[[bytes], None] | None:
        """Return what takes encoded spans; None when tracing is off."""
        return None if self._spans is None else self._spans.add

    def start(self) -> None:
        """Start the exporters' threads."""
        if self._spans is not None:
            self._spans.start()
        if self._metrics is not None:
            self._metrics.start()

    def stop(self) -> None:
        """Send what is left and end the threads."""
        if self._spans is not None:
            self._spans.stop()
        if self._metrics is not None:
            self._metrics.stop()

    def _open(self, endpoint: str, settings: Settings) -> None:
        # Resource.create also reads OTEL_RESOURCE_ATTRIBUTES and says which SDK's rules it
        # follows.
        found = Resource.create(
            {
                "service.name": settings.otel_service_name,
                "service.instance.id": str(uuid4()),
            }
        ).attributes
        resource = {key: str(value) for key, value in found.items()}
        headers = settings.otlp_headers
        spans = SpanExporter(OtlpPoster(endpoint, "/v1/traces", headers), _framing(resource))
        self._spans = spans
        start_ns = time_ns()
        self._metrics = metric_export.MetricExporter(
            OtlpPoster(endpoint, "/v1/metrics", headers),
            lambda now_ns: metric_export.encode(
                self._registry, resource, _SCOPE, start_ns, now_ns
            ),
            settings.otel_metric_export_interval / 1000,
        )

        def counts() -> Iterator[tuple[Labels, float]]:
            yield (("outcome", "exported"),), spans.sent
            yield (("outcome", "dropped"),), spans.dropped

        self._registry.observe(
            "chat.spans", "{span}", "Spans by what became of them.", counts, kind="counter"
        )


def _framing(resource: dict[str, str]) -> Callable[[list[bytes]], bytes]:
    resource_body = wire.resource(resource)
    scope_body = wire.scope(_SCOPE, _SCOPE_VERSION)

    def frame(spans: list[bytes]) -> bytes:
        return wire.trace_request(
            resource_body=resource_body,
            scope_body=scope_body,
            spans=spans,
            schema_url=_SCHEMA_URL,
        )

    return frame
