"""Rows of a run as OTLP messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from analysis.errors import InputError
from analysis.rundir.run import open_run
from tests.support.runs.synthetic_run import Truth, write_run
from worthit.export.messages import messages, request_of

ROW: dict[str, Any] = {
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
    "span_id": "b7ad6b7169203331",
    "parent_span_id": "00f067aa0ba902b7",
    "service": "chat",
    "name": "SELECT personalities",
    "kind": "CLIENT",
    "start_ns": 1_795_442_400_000_000_001,
    "duration_ns": 7_000_003,
    "status": "ERROR",
    "arm": "off",
    "step": 1,
    "block": 4,
    "db_system": "postgresql",
    "db_operation": "SELECT",
    "db_collection": "personalities",
    "cache_hit": False,
    "attributes": '{"flag": true, "count": 3, "ratio": 0.5, "list": ["a", 1],'
    ' "map": {"k": null}, "gone": null}',
}


def span_of(row: dict[str, Any], *, run_id: str, scenario: str | None) -> Span:
    """The row as the one span of a request."""
    scenarios = {row["trace_id"]: scenario} if scenario else {}
    request = request_of([row], run_id=run_id, scenarios=scenarios)
    (span,) = request.resource_spans[0].scope_spans[0].spans
    return span


def attributes(span: Span) -> dict[str, Any]:
    """The span's attributes by key, in protobuf's own JSON form."""
    return {
        entry["key"]: entry.get("value") for entry in MessageToDict(span).get("attributes", [])
    }


def test_ids_times_kind_and_status_are_kept() -> None:
    """A span is sent with the ids, the nanoseconds, the kind and the status that were recorded."""
    span = span_of(ROW, run_id="r", scenario=None)

    assert ROW["trace_id"] == span.trace_id.hex()
    assert ROW["span_id"] == span.span_id.hex()
    assert ROW["parent_span_id"] == span.parent_span_id.hex()
    assert ROW["start_ns"] == span.start_time_unix_nano
    assert ROW["start_ns"] + ROW["duration_ns"] == span.end_time_unix_nano
    assert (3, 2) == (span.kind, span.status.code)


def test_a_span_without_a_kind_gets_none() -> None:
    """Zipkin and others leave the kind out: it is not made INTERNAL, nor its parent local."""
    span = span_of({**ROW, "kind": "UNSPECIFIED"}, run_id="r", scenario=None)

    assert (0, 0) == (span.kind, span.flags)


def test_every_span_carries_the_runs_tags() -> None:
    """Run, arm, step, block, scenario and cache.hit are attributes of the service's own types."""
    found = attributes(span_of(ROW, run_id="the-run", scenario="chat"))

    assert {"stringValue": "the-run"} == found["worthit.run"]
    assert {"stringValue": "off"} == found["worthit.arm"]
    assert {"intValue": "1"} == found["worthit.step"]
    assert {"intValue": "4"} == found["worthit.block"]
    assert {"stringValue": "chat"} == found["worthit.scenario"]
    assert {"boolValue": False} == found["cache.hit"]
    assert {"stringValue": "postgresql"} == found["db.system.name"]


def test_attributes_keep_their_types() -> None:
    """Booleans, numbers, lists and maps arrive as what they were; nulls are left out."""
    found = attributes(span_of(ROW, run_id="r", scenario=None))

    assert {"boolValue": True} == found["flag"]
    assert {"intValue": "3"} == found["count"]
    assert {"doubleValue": 0.5} == found["ratio"]
    assert {"arrayValue": {"values": [{"stringValue": "a"}, {"intValue": "1"}]}} == found["list"]
    assert {"kvlistValue": {"values": [{"key": "k", "value": {}}]}} == found["map"]
    assert "gone" not in found


def test_what_is_missing_stays_missing() -> None:
    """A root has no parent, an unfinished span no end, a span of no arm no arm."""
    empty = dict.fromkeys(("parent_span_id", "duration_ns", "arm", "step", "block", "cache_hit"))
    span = span_of({**ROW, **empty, "attributes": None}, run_id="r", scenario=None)

    assert b"" == span.parent_span_id
    assert span.end_time_unix_nano == 0
    assert set(attributes(span)) == {
        "worthit.run",
        "db.system.name",
        "db.operation.name",
        "db.collection.name",
    }


def test_an_id_that_is_not_hexadecimal_is_a_sentence() -> None:
    """OTLP has no other ids, and the message shows the one that was found."""
    with pytest.raises(InputError, match="'trace-1' was found as a trace or span id"):
        span_of({**ROW, "trace_id": "trace-1"}, run_id="r", scenario=None)


def test_messages_are_bounded_and_lose_nothing(tmp_path: Path) -> None:
    """No message holds more spans than asked, and together they hold each span once."""
    run = open_run(write_run(tmp_path / "run", Truth(rates_per_s=(10.0,), pairs=1, block_s=2.0)))

    sent = list(messages(run, None, spans_each=100))

    found = [
        span.span_id.hex()
        for message in sent
        for resource in ExportTraceServiceRequest.FromString(message.payload).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert max(message.spans for message in sent) == 100
    assert sorted(run.spans["span_id"]) == sorted(found)
