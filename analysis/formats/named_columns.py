"""Tables whose columns have other names: ClickHouse, CSV of data sets, rows of JSON, Parquet.

``LAYOUTS`` has those that are known, each with its source; of others the columns are told by
their names (``_ALIASES``), or by the caller (``--columns trace_id=traceID,start=startTime:us``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from analysis.errors import InputError
from analysis.formats import moments
from analysis.formats.columns import Batch, dumps
from analysis.formats.otlp.otlp_json import KINDS, STATUSES
from analysis.formats.reading import Reading
from worthit.contract.names import SCOPE_NAME, SERVICE_NAME, TRACE_STATE
from worthit.contract.tables import SPANS

NAME = "rows of spans"
"""As messages call this format."""
ONE_SPAN = True

FIELDS = (
    "trace_id", "span_id", "parent_span_id", "service", "name", "kind", "start", "duration",
    "end", "status", "attributes",
)  # fmt: skip
"""What a column can be mapped to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Which column is what in one tool's tables."""

    name: str
    columns: Mapping[str, str]
    """Field: column."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Of ``start``, ``end`` and ``duration``; by the column's name or size where absent."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Attribute: the column that it is."""
    rootless: bool = False
    """Whether roots lack the parent's column."""
    parent_in_id: bool = False
    """Whether a span's id is its parent's and one more part, as in 0.1.2."""


LAYOUTS = (
    # opentelemetry-collector-contrib, exporter/clickhouseexporter/internal/sqltemplates
    Layout(
        name="ClickHouse's otel_traces",
        columns={
            "trace_id": "TraceId", "span_id": "SpanId", "parent_span_id": "ParentSpanId",
            "name": "SpanName", "kind": "SpanKind", "service": "ServiceName",
            "attributes": "SpanAttributes", "start": "Timestamp", "duration": "Duration",
            "status": "StatusCode",
        },
        units={"duration": "ns"},
        extra={SCOPE_NAME: "ScopeName", TRACE_STATE: "TraceState"},
    ),
    # opentelemetry-collector-contrib, exporter/elasticsearchexporter, mapping mode otel
    Layout(
        name="OpenTelemetry's documents of Elasticsearch",
        columns={
            "trace_id": "trace_id", "span_id": "span_id", "parent_span_id": "parent_span_id",
            "name": "name", "kind": "kind", "start": "@timestamp", "duration": "duration",
            "attributes": "attributes",
        },
        units={"duration": "ns"},
        rootless=True,
    ),
    # what dd-trace sends its agent (docs.datadoghq.com, Send traces to the Agent by API)
    Layout(
        name="Datadog's spans",
        columns={
            "trace_id": "trace_id", "span_id": "span_id", "parent_span_id": "parent_id",
            "service": "service", "name": "resource", "start": "start", "duration": "duration",
            "attributes": "meta",
        },
        units={"start": "ns", "duration": "ns"},
        extra={"operation.name": "name"},
        rootless=True,
    ),
    # RCAEval (phamquiluan/RCAEval, traces.csv of RE2 and RE3): Jaeger's names, microseconds
    Layout(
        name="RCAEval's traces",
        columns={
            "trace_id": "traceID", "span_id": "spanID", "parent_span_id": "parentSpanID",
            "service": "serviceName", "name": "operationName", "start": "startTime",
            "duration": "duration", "status": "statusCode",
        },
        units={"start": "us", "duration": "us"},
    ),
    # AIOps Challenge 2020 (as in microsoft/OpenRCA, Telecom): milliseconds
    Layout(
        name="the AIOps Challenge of 2020",
        columns={
            "trace_id": "traceId", "span_id": "id", "parent_span_id": "pid", "service": "cmdb_id",
            "name": "serviceName", "start": "startTime", "duration": "elapsedTime",
            "status": "success",
        },
        units={"start": "ms", "duration": "ms"},
        extra={"call.type": "callType", "db.name": "dsName"},
    ),
    # AIOps Challenge 2022 (OpenRCA, Market): starts in ms, durations in us
    Layout(
        name="the AIOps Challenge of 2022",
        columns={
            "trace_id": "trace_id", "span_id": "span_id", "parent_span_id": "parent_span",
            "service": "cmdb_id", "name": "operation_name", "start": "timestamp",
            "duration": "duration", "status": "status_code",
        },
        units={"duration": "us"},
        extra={"call.type": "type"},
    ),
    # AIOps Challenge 2021 (OpenRCA, Bank): milliseconds, no operations
    Layout(
        name="the AIOps Challenge of 2021",
        columns={
            "trace_id": "trace_id", "span_id": "span_id", "parent_span_id": "parent_id",
            "service": "cmdb_id", "name": "cmdb_id", "start": "timestamp", "duration": "duration",
        },
        units={"duration": "ms"},
    ),
    # Nezha (IntelligentDDS/Nezha, rca_data/*/trace): durations are in us beside ends in ns
    Layout(
        name="Nezha's traces",
        columns={
            "trace_id": "TraceID", "span_id": "SpanID", "parent_span_id": "ParentID",
            "service": "PodName", "name": "OperationName", "start": "StartTimeUnixNano",
            "end": "EndTimeUnixNano",
        },
        units={"start": "ns", "end": "ns"},
    ),
    # Alibaba cluster-trace-microservices-v2021 and -v2022, MSCallGraph: milliseconds
    Layout(
        name="Alibaba's call graphs",
        columns={
            "trace_id": "traceid", "span_id": "rpcid", "service": "dm", "name": "interface",
            "kind": "rpctype", "start": "timestamp", "duration": "rt",
        },
        units={"start": "ms", "duration": "ms"},
        extra={"caller": "um"},
        parent_in_id=True,
    ),
    Layout(
        name="Alibaba's call graphs",
        columns={
            "trace_id": "traceid", "span_id": "rpc_id", "service": "dm", "name": "interface",
            "kind": "rpctype", "start": "timestamp", "duration": "rt",
        },
        units={"start": "ms", "duration": "ms"},
        extra={"caller": "um"},
        parent_in_id=True,
    ),
)  # fmt: skip
"""Known tables, the first that has all its columns holds."""

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "trace_id": ("traceid", "trace", "contexttraceid", "tracespantraceid"),
    "span_id": ("spanid", "contextspanid", "span", "id"),
    "parent_span_id": ("parentspanid", "parentid", "parentspan", "parent", "pid"),
    "service": ("servicename", "service", "resourceservicename", "cmdbid", "podname", "app",
                "microservice", "component"),
    "name": ("operationname", "spanname", "name", "operation", "methodname", "resource", "url",
             "interface", "endpoint"),
    "kind": ("spankind", "kind", "spantype"),
    "start": ("startns", "starttimeunixnano", "starttime", "startus", "startms", "start",
              "starttimens", "starttimeus", "starttimems", "starttimemillis", "starttimestamp",
              "timestamp", "timestampns", "timestampus", "timestampms", "begintime", "time"),
    "duration": ("durationns", "durationnano", "durationnanos", "durationus", "durationmicros",
                 "durationms", "durationmillis", "duration", "elapsedtime", "elapsed", "latency",
                 "rt", "responsetime", "durations", "durationseconds"),
    "end": ("endns", "endtimeunixnano", "endtime", "endus", "endms", "end", "endtimens",
            "endtimeus", "endtimems", "endtimestamp", "finishtime"),
    "status": ("statuscode", "status", "otelstatuscode", "success", "error", "iserror"),
    "attributes": ("attributes", "spanattributes", "tags", "meta"),
}  # fmt: skip
"""Names of columns without case and punctuation, the surest first."""
_TOLD = {
    "trace_id": "a trace id",
    "span_id": "a span id",
    "start": "a start time",
    "duration": "a duration or end",
    "name": "an operation's name",
}
_ROOT_WORDS = ("root", "null", "none", "nan", "-1", "\\n")
"""What stands for no parent beside zeros."""
_OK = frozenset({"0", "200", "ok", "true", "status_code_ok", "unset", "status_code_unset", ""})
_ERRORS = frozenset({"error", "status_code_error", "false", "err"})


def matches(document: object) -> bool:
    """Whether a parsed JSON document is a row that has all that a span needs."""
    if not isinstance(document, dict) or layout_of(document.keys()) is None:
        return False
    return not str(document.get("trace_id", "")).startswith(_X_RAY)  # spans lie inside of it


_X_RAY = "1-"
"""How AWS X-Ray's trace ids begin."""


def is_clickhouse_answer(document: Mapping[str, Any]) -> bool:
    """Whether a document is ClickHouse's FORMAT JSON: columns' types, rows, their number."""
    return (
        "meta" in document
        and isinstance(document.get("data"), list)
        and bool(document.keys() & {"rows", "statistics"})
    )


def rows_of_answer(document: Mapping[str, Any]) -> list[Any]:
    """Give the rows of ClickHouse's FORMAT JSON and JSONCompact, which has them as lists."""
    names = [one.get("name") for one in document["meta"]]
    return [
        dict(zip(names, row, strict=False)) if isinstance(row, list) else row
        for row in document["data"]
    ]


_MOST_SEEN = 1000
_SEEN: dict[tuple[str, ...], Layout | None] = {}


def layout_of(names: Iterable[str], told: Mapping[str, str] | None = None) -> Layout | None:
    """Give what the columns of these names are; None where a span needs more than there is."""
    key = tuple(names)
    if told:
        return _told(key, told)
    if key not in _SEEN:
        if len(_SEEN) > _MOST_SEEN:
            _SEEN.clear()
        _SEEN[key] = _known(key) or _guessed(key)
    return _SEEN[key]


def _known(names: Sequence[str]) -> Layout | None:
    there = set(names)
    return next((one for one in LAYOUTS if there.issuperset(_needed(one))), None)


def _needed(layout: Layout) -> set[str]:
    wanted = set(layout.columns.values())
    return wanted - {layout.columns["parent_span_id"]} if layout.rootless else wanted


def _told(names: Sequence[str], told: Mapping[str, str]) -> Layout:
    """What the caller says; the rest by what the names say."""
    known = _known(names) or _guessed(names, whole=False)
    columns = dict(known.columns) if known is not None else {}
    units = {}
    for what, column in told.items():
        name, _, unit = column.rpartition(":")
        if name and unit in moments.UNITS:
            units[what] = unit
        else:
            name = column
        if what not in FIELDS:
            raise InputError(
                f"{what!r} is no column of spans; {', '.join(FIELDS)} can be named in --columns."
            )
        if name not in names:
            raise InputError(f"There is no column {name!r}; the file has {', '.join(names)}.")
        columns[what] = name
    if "end" in told and "duration" not in told:
        columns.pop("duration", None)
    missing = [words for what, words in _TOLD.items() if not _has(columns, what)]
    if missing:
        raise InputError(f"No column is named for {', '.join(missing)}; name it with --columns.")
    return Layout(name="the columns that were named", columns=columns, units=units)


def _guessed(names: Sequence[str], *, whole: bool = True) -> Layout | None:
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(re.sub(r"[^a-z0-9]", "", str(name).lower()), str(name))
    columns = {
        what: plain[alias]
        for what, aliases in _ALIASES.items()
        if (alias := next((one for one in aliases if one in plain), None)) is not None
    }
    if whole and not all(_has(columns, what) for what in _TOLD):
        return None
    return Layout(name="columns known by their names", columns=columns)


def _has(columns: Mapping[str, str], what: str) -> bool:
    if what == "duration":
        return "duration" in columns or "end" in columns
    return what in columns or (what == "name" and "service" in columns)


def lacking(names: Iterable[str]) -> str | None:
    """Say what spans have and these columns have not, where some of it is there."""
    found = _guessed(tuple(names), whole=False)
    if found is None or not {"trace_id", "span_id"} & found.columns.keys() - {"id"}:
        return None
    return next((told for what, told in _TOLD.items() if not _has(found.columns, what)), None)


def table(documents: Sequence[Any]) -> pa.Table:
    """Turn rows, as dicts, into spans columns."""
    layout, keys = layout_of(documents[0].keys()), documents[0].keys()
    if layout is None or any(one.keys() != keys for one in documents):
        parts: dict[tuple[str, ...], list[Any]] = {}
        for one in documents:
            parts.setdefault(tuple(sorted(one)), []).append(one)
        if len(parts) == 1:
            raise InputError("a row lacks what every span has")
        return pa.concat_tables([table(rows) for rows in parts.values()])
    wanted = {*layout.columns.values(), *layout.extra.values(), *_RESOURCES, *_LINKS}
    columns = {name: [row[name] for row in documents] for name in wanted if name in keys}
    return spans_of(columns, layout, Reading())


_RESOURCES = ("ResourceAttributes", "resource")
_LINKS = ("Links.TraceId", "Links.SpanId")


def spans_of(columns: Mapping[str, Any], layout: Layout, reading: Reading) -> pa.Table:
    """Turn columns, lists or Arrow arrays, into spans columns."""
    of = layout.columns
    texts = {
        what: _texts(columns[name])
        for what, name in of.items()
        if what in _TEXT_FIELDS and name in columns
    }
    for what in ("trace_id", "span_id"):
        if pc.any(pc.is_null(texts[what])).as_py():
            raise InputError(f"a row has no {of[what]}, which spans need")
    rows = len(texts["trace_id"])
    starts = _times(columns, layout, "start", reading)
    if "duration" in of:
        durations = _times(columns, layout, "duration", reading)
        if layout.parent_in_id:  # negative where the caller measured
            durations = pc.abs(durations)
    else:
        durations = pc.subtract(_times(columns, layout, "end", reading), starts)
    durations = pc.if_else(pc.is_valid(starts), durations, pa.scalar(None, pa.int64()))
    found: dict[str, pa.Array] = {
        "trace_id": pc.ascii_lower(texts["trace_id"]),
        "span_id": pc.ascii_lower(texts["span_id"]),
        "start_ns": pc.fill_null(starts, 0),
        "duration_ns": durations,
    }
    found["parent_span_id"] = (
        _parents_in(found["trace_id"], found["span_id"])
        if layout.parent_in_id
        else _parents(texts.get("parent_span_id"), rows)
    )
    service = texts.get("service")
    found["name"] = texts.get("name", service)
    if "name" in texts and service is not None:
        found["name"] = pc.coalesce(texts["name"], service)
    resources = columns.get("ResourceAttributes", columns.get("resource"))
    found["service"] = _services(service, resources, rows)
    found["kind"] = _kinds(texts.get("kind"), rows)
    found["status"] = _statuses(texts.get("status"), of.get("status", ""), rows)
    attributes = _promoted(columns, layout, rows)
    for name in attributes.column_names:
        found.setdefault(name, attributes.column(name).combine_chunks())
    if _LINKS[0] in columns and _LINKS[1] in columns:
        found["links"] = _links(columns[_LINKS[0]], columns[_LINKS[1]])
    arrays = [found[name].cast(SPANS.field(name).type) for name in SPANS.names]
    return pa.Table.from_arrays(arrays, schema=SPANS)


_TEXT_FIELDS = frozenset(
    {"trace_id", "span_id", "parent_span_id", "service", "name", "kind", "status"}
)


def _texts(column: Any) -> pa.Array:
    """Give a column as texts, missing where they are empty."""
    if not isinstance(column, (pa.Array, pa.ChunkedArray)):
        column = pa.array(
            [one if one is None or type(one) is str else _plain(one) for one in column],
            pa.large_string(),
        )
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_fixed_size_binary(column.type):
        column = pa.array([None if v is None else v.hex() for v in column.to_pylist()])
    column = pc.utf8_trim_whitespace(column.cast(pa.large_string()))
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, column.type), column)


def _plain(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _times(columns: Mapping[str, Any], layout: Layout, what: str, reading: Reading) -> pa.Array:
    """Give times in ns; say what unit they were taken to have where nobody said it."""
    name = layout.columns[what]
    column = columns[name]
    if not isinstance(column, (pa.Array, pa.ChunkedArray)):
        column = _numbers(column)
    unit = layout.units.get(what) or moments.unit_of_name(name)
    if unit is None and what == "duration":
        unit = _like_start(columns, layout)
        reading.remark(f"Column {name}: durations taken as {unit}; say otherwise with --columns.")
    elif unit is None:
        values = _doubles(column)
        if values is not None:
            unit = moments.unit_of_size(values)
            reading.remark(f"Column {name}: moments taken as {unit} since 1970, by their size.")
    return moments.in_ns(column, unit)


def _numbers(values: Sequence[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if v is None else str(v) for v in values], pa.large_string())


def _doubles(column: pa.Array | pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """Give numbers, also those written as texts; None where there are none, as of ISO texts."""
    if pa.types.is_timestamp(column.type):
        return None
    try:
        found = pc.cast(column, pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    if isinstance(found, pa.ChunkedArray):
        found = found.combine_chunks()
    return np.asarray(found.to_numpy(zero_copy_only=False))


def _like_start(columns: Mapping[str, Any], layout: Layout) -> str:
    """Give the unit of the starts: a tool has one clock, mostly."""
    name = layout.columns["start"]
    unit = layout.units.get("start") or moments.unit_of_name(name)
    if unit is None:
        column = columns[name]
        if not isinstance(column, (pa.Array, pa.ChunkedArray)):
            column = _numbers(column)
        values = _doubles(column)
        unit = "ns" if values is None else moments.unit_of_size(values)
    return unit


def _parents(parents: pa.Array | None, rows: int) -> pa.Array:
    if parents is None:
        return pa.nulls(rows, pa.large_string())
    lower = pc.ascii_lower(parents)
    words = pa.array([*_ROOT_WORDS, "0", "0" * 16, "0" * 32], pa.large_string())
    none = pc.fill_null(pc.is_in(lower, value_set=words), fill_value=False)
    return pc.if_else(none, pa.scalar(None, lower.type), lower)


def _parents_in(traces: pa.Array, ids: pa.Array) -> pa.Array:
    """Give the parents of ids such as 0.1.2, where they are spans of the trace."""
    parents = pc.replace_substring_regex(ids, r"\.?[^.]*$", "")
    gap = pa.scalar(" ", traces.type)
    own = pc.binary_join_element_wise(traces, ids, gap)
    theirs = pc.binary_join_element_wise(traces, parents, gap)
    there = pc.is_in(theirs, value_set=own)
    return pc.if_else(there, parents, pa.scalar(None, parents.type))


def _services(service: pa.Array | None, resources: Any, rows: int) -> pa.Array:
    if service is not None:
        return service
    if resources is None:
        return pa.nulls(rows, pa.large_string())
    found = ({**one, **_object(one.get("attributes"))} for one in _objects(resources))
    return pa.array([one.get(SERVICE_NAME) for one in found], pa.large_string())


def _kinds(kinds: pa.Array | None, rows: int) -> pa.Array:
    if kinds is None:
        return pa.repeat(pa.scalar("UNSPECIFIED", pa.large_string()), rows)
    prefix = r"^(SPAN_KIND_|SPANKIND\.|KIND_)"
    upper = pc.replace_substring_regex(pc.ascii_upper(kinds), prefix, "")
    numbers = pa.array([str(i) for i in range(len(KINDS))], pa.large_string())
    named = pa.array(KINDS, pa.large_string()).take(pc.index_in(upper, value_set=numbers))
    for theirs, ours in _KINDS_OF_SKYWALKING:
        upper = pc.if_else(pc.equal(upper, theirs), pa.scalar(ours, upper.type), upper)
    known = pc.if_else(
        pc.is_in(upper, value_set=pa.array(KINDS, pa.large_string())),
        upper,
        pa.scalar("UNSPECIFIED", pa.large_string()),
    )
    return pc.coalesce(named, known, pa.scalar("UNSPECIFIED", pa.large_string()))


_KINDS_OF_SKYWALKING = (("ENTRY", "SERVER"), ("EXIT", "CLIENT"), ("LOCAL", "INTERNAL"))


def kind_word(kind: str | None) -> str:
    """Read one kind as ``SpanKind`` columns have it."""
    found: str = _kinds(pa.array([kind], pa.large_string()), 1)[0].as_py()
    return found


def status_word(status: str | None) -> str:
    """Read one status as ``StatusCode`` columns have it."""
    return _status(status or "", error=False)


def _statuses(statuses: pa.Array | None, name: str, rows: int) -> pa.Array:
    unset = pa.scalar(STATUSES[0], pa.large_string())
    if statuses is None:
        return pa.repeat(unset, rows)
    encoded = statuses.dictionary_encode()
    error = name.lower() in ("error", "iserror")
    words = [_status(text, error=error) for text in encoded.dictionary.to_pylist()]
    found = pa.array(words, pa.large_string()).take(encoded.indices)
    return pc.coalesce(found, unset)


_FIRST_HTTP, _HTTP_FAILED = 100, 500
"""A number below is a code of gRPC's, which is 0 where all went well."""


def _status(text: str, *, error: bool) -> str:
    word = text.lower()
    if error:
        return STATUSES[0] if word in ("false", "0", "") else STATUSES[2]
    if word in ("ok", "status_code_ok"):
        return STATUSES[1]
    if word in _OK:
        return STATUSES[0]
    if word in _ERRORS:
        return STATUSES[2]
    return (
        STATUSES[2]
        if word.isdigit() and not _FIRST_HTTP <= int(word) < _HTTP_FAILED
        else STATUSES[0]
    )


def _promoted(columns: Mapping[str, Any], layout: Layout, rows: int) -> pa.Table:
    """Give the attributes' JSON, and what columns take of them."""
    name = layout.columns.get("attributes")
    objects = _objects(columns[name]) if name is not None else [{} for _ in range(rows)]
    for attribute, column in layout.extra.items():
        if column not in columns:
            continue
        for found, value in zip(objects, _texts(columns[column]).to_pylist(), strict=True):
            if value is not None:
                found[attribute] = value
    batch = Batch()
    for found in objects:
        batch.promote(found)
    return batch.attributes()


def _objects(column: Any) -> list[dict[str, Any]]:
    """Give attributes as dicts: objects, maps, or texts of either."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    values = column.to_pylist() if isinstance(column, pa.Array) else column
    return [_object(value) for value in values]


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, list):  # Arrow's maps, or Jaeger's tags
        if value and isinstance(value[0], dict):
            return {one["key"]: one.get("value") for one in value if "key" in one}
        return {_decoded(key): _decoded(one) for key, one in value}
    if not isinstance(value, str) or not value:
        return {}
    try:
        found = orjson.loads(value)
        return _object(found) if isinstance(found, (dict, list)) else {}
    except orjson.JSONDecodeError:
        texts = [_unescaped(text) for text in _QUOTED.findall(value)]
        return dict(zip(texts[::2], texts[1::2], strict=False))


_QUOTED = re.compile(r"'((?:[^'\\]|\\.|'')*)'", re.DOTALL)
"""A text in ClickHouse's map, as it writes it into CSV and TSV: {'key':'value'}."""


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text.replace("''", "'"), flags=re.DOTALL)


def _decoded(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _links(traces: Any, spans: Any) -> pa.Array:
    def listed(column: Any) -> list[Any]:
        if isinstance(column, (pa.Array, pa.ChunkedArray)):
            column = column.to_pylist()
        return [_QUOTED.findall(one) if isinstance(one, str) else one or [] for one in column]

    found = [
        dumps(
            [
                {"trace_id": str(_decoded(t)).lower(), "span_id": str(_decoded(s)).lower()}
                for t, s in zip(of, to, strict=False)
            ]
        ).decode()
        if of
        else None
        for of, to in zip(listed(traces), listed(spans), strict=True)
    ]
    return pa.array(found, pa.large_string())
