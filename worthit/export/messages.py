"""Rows of spans.parquet back into OTLP: ids, times, attributes as they were, plus the run's tags.

Put back where OTLP has them: the service as resource attribute ``service.name``;
``db.system.name``, ``db.operation.name``, ``db.collection.name`` and ``cache.hit`` from their
columns; run, arm, step, block and scenario as ``worthit.*`` on every span, so that one search can
ask for a run and a cache miss at once (Jaeger finds a trace when one of its spans has all the tags
asked for). Not put back, because a run does not keep them: events, links, trace state, other
resource attributes and the instrumentation scope.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from analysis.errors import InputError
from analysis.rundir.run import Run
from worthit.contract import names

SCOPE: Final = "worthit.export"
"""Instrumentation scope of every span sent: says that this is a replay."""

TRACE_ID_BYTES: Final = 16
SPAN_ID_BYTES: Final = 8
"""Lengths that OTLP demands; shorter ids, as Zipkin allows, get zeros on the left."""

_KINDS: Final = {name.removeprefix("SPAN_KIND_"): number for name, number in Span.SpanKind.items()}
_STATUSES: Final = {
    name.removeprefix("STATUS_CODE_"): number for name, number in Status.StatusCode.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One request for an OTLP endpoint."""

    payload: bytes
    """A serialised ExportTraceServiceRequest."""
    spans: int


def messages(run: Run, traces: frozenset[str] | None, *, spans_each: int) -> Iterator[Message]:
    """Stream the run's spans as OTLP messages of at most ``spans_each`` spans each, in order.

    Parameters
    ----------
    run
        An opened run; its spans are read in batches, never as a whole.
    traces
        Ids of the traces to send, or None for all.
    spans_each
        Largest number of spans in one message.
    """
    scenarios = _scenarios(run)
    file = pq.ParquetFile(run.path / "spans.parquet")
    chosen = None if traces is None else pa.array(sorted(traces), pa.string())
    waiting: list[dict[str, Any]] = []
    for batch in file.iter_batches(batch_size=max(spans_each, 8192)):
        waiting.extend(_rows(batch, chosen))
        while len(waiting) >= spans_each:
            yield _message(run.manifest.run_id, waiting[:spans_each], scenarios)
            del waiting[:spans_each]
    if waiting:
        yield _message(run.manifest.run_id, waiting, scenarios)


def _rows(batch: pa.RecordBatch, chosen: pa.Array | None) -> list[dict[str, Any]]:
    if chosen is not None:
        batch = batch.filter(pc.is_in(batch["trace_id"].cast(pa.string()), value_set=chosen))
    rows: list[dict[str, Any]] = batch.to_pylist()
    return rows


def _scenarios(run: Run) -> Mapping[str, str]:
    """Trace id -> scenario, from the requests that were sent; a trace nobody sent has none."""
    columns = ["trace_id", "scenario"]
    table = pq.read_table(run.path / "requests.parquet", columns=columns)
    pairs = zip(table["trace_id"].to_pylist(), table["scenario"].to_pylist(), strict=True)
    return {trace: scenario for trace, scenario in pairs if trace and scenario}


def _message(
    run_id: str, rows: Iterable[Mapping[str, Any]], scenarios: Mapping[str, str]
) -> Message:
    by_service: dict[str, list[Span]] = {}
    count = 0
    for row in rows:
        count += 1
        span = span_of(row, run_id=run_id, scenario=scenarios.get(row["trace_id"]))
        by_service.setdefault(row["service"] or "", []).append(span)
    resource_spans = [_resource(service, spans) for service, spans in by_service.items()]
    request = ExportTraceServiceRequest(resource_spans=resource_spans)
    return Message(payload=request.SerializeToString(), spans=count)


def _resource(service: str, spans: list[Span]) -> ResourceSpans:
    scope = ScopeSpans(spans=spans)
    scope.scope.name = SCOPE
    group = ResourceSpans(scope_spans=[scope])
    if service:
        group.resource.attributes.append(_attribute(names.SERVICE_NAME, service))
    return group


def span_of(row: Mapping[str, Any], *, run_id: str, scenario: str | None) -> Span:
    """One row of spans.parquet as an OTLP span; one that never ended gets end 0."""
    duration = row["duration_ns"]
    span = Span(
        trace_id=_identifier(row["trace_id"], TRACE_ID_BYTES),
        span_id=_identifier(row["span_id"], SPAN_ID_BYTES),
        name=row["name"] or "",
        kind=_KINDS.get(row["kind"], Span.SPAN_KIND_UNSPECIFIED),
        start_time_unix_nano=row["start_ns"],
        end_time_unix_nano=0 if duration is None else row["start_ns"] + duration,
        attributes=[_attribute(key, value) for key, value in _tags(row, run_id, scenario).items()],
        status=Status(code=_STATUSES.get(row["status"], Status.STATUS_CODE_UNSET)),
    )
    if row["parent_span_id"]:
        span.parent_span_id = _identifier(row["parent_span_id"], SPAN_ID_BYTES)
    return span


def _tags(row: Mapping[str, Any], run_id: str, scenario: str | None) -> dict[str, Any]:
    tags: dict[str, Any] = {}
    if row["attributes"]:
        kept = orjson.loads(row["attributes"])
        tags.update((key, value) for key, value in kept.items() if value is not None)
    tags[names.RUN] = run_id
    if scenario:
        tags[names.SCENARIO] = scenario
    for column, attribute in names.COLUMN_ATTRIBUTES.items():
        if row[column] is not None:
            tags[attribute] = row[column]
    return tags


def _identifier(text: str, length: int) -> bytes:
    try:
        return bytes.fromhex(text).rjust(length, b"\0")
    except ValueError as error:
        raise InputError(
            f"'{text}' was found as a trace or span id where hexadecimal digits were expected;"
            " OTLP has no other ids, so this run cannot be sent."
        ) from error


def _attribute(key: str, value: object) -> KeyValue:
    return KeyValue(key=key, value=_any_value(value))


def _any_value(value: object) -> AnyValue:  # noqa: PLR0911 - one return a JSON type
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int() if -(2**63) <= value < 2**63:
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value)
        case list():
            result = AnyValue()
            result.array_value.values.extend(_any_value(item) for item in value)
            return result
        case dict():
            result = AnyValue()
            result.kvlist_value.values.extend(_attribute(key, item) for key, item in value.items())
            return result
        case None:
            return AnyValue()
        case _:
            return AnyValue(string_value=json.dumps(value, default=str))
