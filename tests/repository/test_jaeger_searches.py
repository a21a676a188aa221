"""docs/jaeger.md's searches, tried on the spans that a replay sends, by Jaeger's own rule."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from analysis.rundir.run import open_run
from tests.support.project.source_tree import ROOT
from tests.support.runs.synthetic_run import Truth, write_run
from worthit.export.messages import messages

NS_PER_S = 10**9


def searches() -> list[tuple[str, str, str, str, str]]:
    """The table's rows: wanted, service, operation, tags, shortest duration."""
    text = (ROOT / "docs/jaeger.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|(.+)\|$", text, re.MULTILINE)
    cells = [tuple(cell.strip().strip("`") for cell in row.split("|")) for row in rows]
    return [row for row in cells if len(row) == 5 and row[1] == "chat"]  # type: ignore[misc]  # five


def spans_sent(folder: Path) -> tuple[str, list[dict[str, Any]]]:
    """The run's id and its spans as Jaeger files them: service, operation, tags as text."""
    truth = Truth(rates_per_s=(10.0, 20.0, 40.0), pairs=2, block_s=3.0)
    path = write_run(folder / "run", truth) / "spans.parquet"
    spans = pd.read_parquet(path, dtype_backend="pyarrow")
    spans.loc[spans[spans["kind"] == "SERVER"].index[::5], "status"] = "ERROR"
    spans.to_parquet(path)
    run = open_run(path.parent)
    found = [
        {"service": resource.resource.attributes[0].value.string_value, **tags(span)}
        for message in messages(run, None, spans_each=1000)
        for resource in ExportTraceServiceRequest.FromString(message.payload).resource_spans
        for span in resource.scope_spans[0].spans
    ]
    return run.manifest.run_id, found


def tags(span: Span) -> dict[str, Any]:
    """Attributes as Jaeger searches them: every value as text, a failed span has error=true."""
    found: dict[str, Any] = {"name": span.name}
    for attribute in span.attributes:
        kind = attribute.value.WhichOneof("value")
        value = getattr(attribute.value, kind) if kind else ""
        found[attribute.key] = str(value).lower() if isinstance(value, bool) else str(value)
    if span.status.code == Status.STATUS_CODE_ERROR:
        found["error"] = "true"
    found["seconds"] = (span.end_time_unix_nano - span.start_time_unix_nano) / NS_PER_S
    return found


@pytest.fixture(name="sent", scope="module")
def _sent(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[dict[str, Any]]]:
    return spans_sent(tmp_path_factory.mktemp("searches"))


@pytest.mark.parametrize("search", searches(), ids=lambda row: str(row[0]).replace(" ", "-"))
def test_the_search_finds_some_and_not_all(
    search: tuple[str, str, str, str, str], sent: tuple[str, list[dict[str, Any]]]
) -> None:
    """A documented search finds spans that have all it asks for, and leaves others out."""
    run_id, spans = sent
    _, service, operation, wanted, shortest = search
    pairs = [pair.split("=") for pair in wanted.replace("RUN", run_id).split()]
    found = [
        span
        for span in spans
        if span["service"] == service
        and span["name"] == operation
        and all(span.get(key) == value for key, value in pairs)
        and span["seconds"] >= float(shortest.removesuffix("s") or 0)
    ]

    assert 0 < len(found) < len(spans)


def test_the_table_was_read() -> None:
    """The page has searches for run, arm, step, scenario and cache.hit."""
    asked = " ".join(row[3] for row in searches())

    assert [
        tag
        for tag in ("worthit.run", "worthit.arm", "worthit.step", "worthit.scenario", "cache.hit")
        if f"{tag}=" not in asked
    ] == []
