"""What did the service itself count? Rows for counters.parquet out of the recorder's metrics file.

Each data point of a sum or a gauge is one row under the metric's own name; a histogram is two,
`NAME.count` and `NAME.sum`. Labels are the point's attributes and, of the resource, the arm
(`worthit.arm`), the service's name and its instance.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from worthit.contract import names
from worthit.counters.sample import Sample, sample
from worthit.recorder.files import read_delimited

RESOURCE_LABELS = {
    names.ARM: "arm",
    names.SERVICE_NAME: "service",
    "service.instance.id": "instance",
}
"""Attributes of the resource that are kept, and the labels they become."""


def metric_samples(path: Path) -> Iterator[Sample]:
    """Give the file's data points; none without a file, up to the damage in a damaged one."""
    if not path.exists():
        return
    for data in read_delimited(path):
        try:
            request = ExportMetricsServiceRequest.FromString(data)
        except DecodeError:
            continue
        for resource in request.resource_metrics:
            labels = _resource_labels(resource.resource.attributes)
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    yield from _of_metric(metric, labels)


def _of_metric(metric: Any, labels: dict[str, str]) -> Iterator[Sample]:  # noqa: ANN401 - generated
    kind = metric.WhichOneof("data")
    if kind in {"sum", "gauge"}:
        for point in getattr(metric, kind).data_points:
            value = getattr(point, point.WhichOneof("value") or "as_int")
            yield _row(point, metric.name, value, labels)
    elif kind in {"histogram", "exponential_histogram"}:
        for point in getattr(metric, kind).data_points:
            yield _row(point, f"{metric.name}.count", point.count, labels)
            yield _row(point, f"{metric.name}.sum", point.sum, labels)


def _row(point: Any, name: str, value: float, labels: dict[str, str]) -> Sample:  # noqa: ANN401 - generated
    own = {attribute.key: _plain(attribute.value) for attribute in point.attributes}
    return sample(int(point.time_unix_nano), "service", name, value, **{**own, **labels})


def _resource_labels(attributes: Any) -> dict[str, str]:  # noqa: ANN401 - generated
    return {
        RESOURCE_LABELS[attribute.key]: str(_plain(attribute.value))
        for attribute in attributes
        if attribute.key in RESOURCE_LABELS
    }


def _plain(value: Any) -> object:  # noqa: ANN401 - generated
    """An attribute's value; arrays and maps, which no metric of ours has, as text."""
    kind = value.WhichOneof("value")
    if kind in {"string_value", "bool_value", "int_value", "double_value"}:
        return getattr(value, kind)
    return str(value)
