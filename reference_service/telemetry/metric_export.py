"""Exports metrics by OTLP, from a thread and at an interval."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from time import time_ns
from typing import Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from reference_service.telemetry.export import OtlpPoster
from reference_service.telemetry.metrics import Counter, Histogram, Instrument, Labels, Registry

_CUMULATIVE: Final = pb.AGGREGATION_TEMPORALITY_CUMULATIVE


class MetricExporter:
    """Posts a registry every so often, and once more at the end."""

    def __init__(
        self, poster: OtlpPoster, encode: Callable[[int], bytes], interval_seconds: float
    ) -> None:
        self._poster = poster
        self._encode = encode
        self._interval_seconds = interval_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metric-exporter", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Push the last state, then end the thread."""
        self._stop.set()
        self._thread.join(timeout_seconds)
        self._poster.close()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stop.wait(self._interval_seconds)
            self._poster.post(
                self._encode(time_ns())
            )  # what is lost is in the next push: cumulative


def encode(
    registry: Registry, resource: Mapping[str, str], scope: str, start_ns: int, now_ns: int
) -> bytes:
    """Return an ExportMetricsServiceRequest with the state of all instruments."""
    request = ExportMetricsServiceRequest()
    resource_metrics = request.resource_metrics.add(
        resource=Resource(attributes=[_pair(key, value) for key, value in resource.items()])
    )
    scope_metrics = resource_metrics.scope_metrics.add(scope=InstrumentationScope(name=scope))
    for instrument in tuple(registry.instruments.values()):
        scope_metrics.metrics.append(_metric(instrument, start_ns, now_ns))
    return request.SerializeToString()


def _metric(instrument: Instrument, start_ns: int, now_ns: int) -> pb.Metric:
    metric = pb.Metric(
        name=instrument.name, unit=instrument.unit, description=instrument.description
    )
    numbers = list(instrument.read()) if instrument.read is not None else []
    for labels, series in tuple(instrument.series.items()):
        if isinstance(series, Counter):
            numbers.append((labels, series.value))
        else:
            metric.histogram.aggregation_temporality = _CUMULATIVE
            metric.histogram.data_points.append(_distribution(labels, series, start_ns, now_ns))
    points = [
        pb.NumberDataPoint(
            attributes=[_pair(key, value) for key, value in labels],
            start_time_unix_nano=start_ns,
            time_unix_nano=now_ns,
            as_double=number,
        )
        for labels, number in numbers
    ]
    if instrument.kind == "gauge":
        metric.gauge.data_points.extend(points)
    elif points:
        metric.sum.aggregation_temporality = _CUMULATIVE
        metric.sum.is_monotonic = instrument.kind == "counter"
        metric.sum.data_points.extend(points)
    return metric


def _distribution(
    labels: Labels, series: Histogram, start_ns: int, now_ns: int
) -> pb.HistogramDataPoint:
    counts = list(series.counts)
    return pb.HistogramDataPoint(
        attributes=[_pair(key, value) for key, value in labels],
        start_time_unix_nano=start_ns,
        time_unix_nano=now_ns,
        count=sum(counts),
        sum=series.total,
        bucket_counts=counts,
        explicit_bounds=series.bounds,
    )


def _pair(key: str, value: str | int) -> KeyValue:
    if isinstance(value, int):
        return KeyValue(key=key, value=AnyValue(int_value=value))
    return KeyValue(key=key, value=AnyValue(string_value=value))
