"""The service's own metrics as rows of counters.parquet."""

from __future__ import annotations

import json
from pathlib import Path

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from worthit.counters.recorded_metrics import metric_samples
from worthit.recorder.files import DelimitedFile


def recorded(path: Path) -> bytes:
    """What OpenTelemetry's own SDK exports for a counter, a gauge and a histogram."""
    reader = InMemoryMetricReader()
    provider = MeterProvider(
        metric_readers=[reader],
        resource=Resource({"service.name": "chat", "worthit.arm": "on", "other": "x"}),
    )
    meter = provider.get_meter("test")
    meter.create_counter("turns").add(3, {"kind": "chat"})
    meter.create_up_down_counter("db.client.connection.count").add(2, {"state": "used"})
    for seconds in (0.5, 1.5):
        meter.create_histogram("http.server.request.duration").record(seconds, {"code": 200})
    data = reader.get_metrics_data()
    provider.shutdown()
    assert data is not None
    message = encode_metrics(data).SerializeToString()
    file = DelimitedFile(path)
    file.append(message)
    file.close()
    return message


def test_metrics_become_rows(tmp_path: Path) -> None:
    """Sums as they are, histograms as count and sum, with the arm and the point's attributes."""
    recorded(tmp_path / "metrics")

    rows = {
        row.name: (json.loads(row.labels), row.value)
        for row in metric_samples(tmp_path / "metrics")
    }

    resource = {"arm": "on", "service": "chat"}
    assert rows == {
        "turns": ({**resource, "kind": "chat"}, 3.0),
        "db.client.connection.count": ({**resource, "state": "used"}, 2.0),
        "http.server.request.duration.count": ({**resource, "code": 200}, 2.0),
        "http.server.request.duration.sum": ({**resource, "code": 200}, 2.0),
    }


def test_an_attribute_may_have_any_name(tmp_path: Path) -> None:
    """Attributes called as our own columns are labels like any other."""
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    labels = {"name": "a", "source": "b", "value": 1, "t_ns": 2}
    provider.get_meter("test").create_counter("turns").add(3, labels)
    data = reader.get_metrics_data()
    provider.shutdown()
    assert data is not None
    file = DelimitedFile(tmp_path / "metrics")
    file.append(encode_metrics(data).SerializeToString())
    file.close()

    (row,) = metric_samples(tmp_path / "metrics")

    assert (row.name, row.source, row.value) == ("turns", "service", 3.0)
    assert labels.items() <= json.loads(row.labels).items()


def test_a_file_cut_off_gives_what_is_whole(tmp_path: Path) -> None:
    """Two messages, the second cut anywhere: the first's rows, and no error."""
    path = tmp_path / "metrics"
    message = recorded(path)
    whole = path.read_bytes()
    for kept in range(0, len(message), 37):
        path.write_bytes(whole + whole[:kept])
        assert len(list(metric_samples(path))) == 4


def test_no_file_is_no_rows(tmp_path: Path) -> None:
    """A service without metrics leaves no rows, not zeros."""
    assert list(metric_samples(tmp_path / "none")) == []
