"""Rows of spans.parquet back into OTLP: ids, times, attributes as they were, plus the run's tags.

Put back where OTLP has them: the service as resource attribute ``service.name``;
``db.system.name``, ``db.operation.name``, ``db.collection.name`` and ``cache.hit`` from their
columns; run, arm, step, block and scenario as ``worthit.*`` on every span, so that one search can
ask for a run and a cache miss at once (Jaeger finds a trace when one of its spans has all the tags
asked for). Not put back, because a run does not keep them: events, links, trace state, other
resource attributes and the instrumentation scope.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

from analysis.errors import InputError
from analysis.rundir.run import Run
from worthit.contract import names

SCOPE: Final = InstrumentationScope("worthit.export")
"""Instrumentation scope of every span sent: says that this is a replay."""

_KINDS: Final = {kind.name: kind for kind in SpanKind}
_STATUSES: Final = {status.name: status for status in StatusCode}


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
    request = request_of(rows, run_id=run_id, scenarios=scenarios)
    count = sum(
        len(scope.spans) for group in request.resource_spans for scope in group.scope_spans
    )
    return Message(payload=request.SerializeToString(), spans=count)


def request_of(
    rows: Iterable[Mapping[str, Any]], *, run_id: str, scenarios: Mapping[str, str]
) -> ExportTraceServiceRequest:
    """Rows of spans.parquet as one request of OTLP; a span that never ended gets end 0."""
    rows = list(rows)
    request = encode_spans([_span(row, run_id, scenarios.get(row["trace_id"])) for row in rows])
    no_kind = {
        _identifier(row["span_id"]).to_bytes(8) for row in rows if row["kind"] not in _KINDS
    }
    for group in request.resource_spans:
        for scope in group.scope_spans:
            for span in scope.spans:
                # what the SDK's span has to say and the run does not: a kind, a parent's process
                span.ClearField("flags")
                if span.span_id in no_kind:
                    span.kind = Span.SPAN_KIND_UNSPECIFIED
    return request


def _span(row: Mapping[str, Any], run_id: str, scenario: str | None) -> ReadableSpan:
    duration = row["duration_ns"]
    trace_id = _identifier(row["trace_id"])
    parent = row["parent_span_id"]
    return ReadableSpan(
        name=row["name"] or "",
        context=SpanContext(trace_id, _identifier(row["span_id"]), is_remote=False),
        parent=SpanContext(trace_id, _identifier(parent), is_remote=False) if parent else None,
        resource=Resource({names.SERVICE_NAME: row["service"]} if row["service"] else {}),
        kind=_KINDS.get(row["kind"], SpanKind.INTERNAL),
        status=Status(_STATUSES.get(row["status"], StatusCode.UNSET)),
        start_time=row["start_ns"],
        end_time=0 if duration is None else row["start_ns"] + duration,
        attributes=_tags(row, run_id, scenario),
        instrumentation_scope=SCOPE,
    )


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


def _identifier(text: str) -> int:
    try:
        return int(bytes.fromhex(text).hex(), 16)
    except ValueError as error:
        raise InputError(
            f"'{text}' was found as a trace or span id where hexadecimal digits were expected;"
            " OTLP has no other ids, so this run cannot be sent."
        ) from error
