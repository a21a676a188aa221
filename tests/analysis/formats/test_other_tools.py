"""One small trace in the forms that other tools write it, made here by code."""

import gzip
import io
import json
import struct
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

from analysis import traces
from analysis.errors import InputError
from tests.support.traces import trace_files as files

START_US = files.START_US
ROWS: list[dict[str, Any]] = [
    {
        "id": files.ROOT, "parent": "", "name": "POST /chat", "kind": "Server",
        "at": 0, "took": 1000,
    },
    {
        "id": files.CALL, "parent": files.ROOT, "name": "SELECT carts", "kind": "Client",
        "at": 100, "took": 300,
    },
]  # fmt: skip
"""The trace of tests.support.traces.trace_files; times in µs."""


def _lines(documents: list[Any]) -> bytes:
    return b"\n".join(files.text(one) for one in documents) + b"\n"


def _pretty(documents: list[Any]) -> bytes:
    return b"\n".join(json.dumps(one, indent=4).encode() for one in documents)


def _zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def _framed(*messages: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(one)) + one for one in messages)


def _metrics() -> bytes:
    message = MetricsData()
    metric = message.resource_metrics.add().scope_metrics.add().metrics.add()
    metric.name = "sixteen_letters_"
    metric.gauge.data_points.add(as_int=1)
    return message.SerializeToString()


def _moment(us: int) -> str:
    stamp = pd.Timestamp((START_US + us) * 1000, unit="ns", tz="UTC")
    return stamp.isoformat().replace("+00:00", "Z")


def _python() -> list[Any]:
    return [
        {
            "name": row["name"],
            "context": {
                "trace_id": "0x" + files.TRACE, "span_id": "0x" + row["id"], "trace_state": "[]",
            },
            "kind": f"SpanKind.{row['kind'].upper()}",
            "parent_id": "0x" + row["parent"] if row["parent"] else None,
            "start_time": _moment(row["at"]), "end_time": _moment(row["at"] + row["took"]),
            "status": {"status_code": "UNSET"}, "attributes": {}, "events": [], "links": [],
            "resource": {"attributes": {"service.name": "chat"}, "schema_url": ""},
        }
        for row in ROWS
    ]  # fmt: skip


def _go() -> list[Any]:
    def context(span: str) -> dict[str, Any]:
        return {"TraceID": files.TRACE, "SpanID": span or "0" * 16, "TraceState": ""}

    return [
        {
            "Name": row["name"], "SpanContext": context(row["id"]),
            "Parent": context(row["parent"]), "SpanKind": 2 if row["kind"] == "Server" else 3,
            "StartTime": _moment(row["at"]), "EndTime": _moment(row["at"] + row["took"]),
            "Attributes": [{"Key": "k", "Value": {"Type": "STRING", "Value": "v"}}],
            "Links": None, "Status": {"Code": "Unset"},
            "Resource": [{"Key": "service.name", "Value": {"Type": "STRING", "Value": "chat"}}],
        }
        for row in ROWS
    ]  # fmt: skip


def _clickhouse() -> list[dict[str, Any]]:
    return [
        {
            "Timestamp": _moment(row["at"]).replace("T", " ").removesuffix("Z"),
            "TraceId": files.TRACE, "SpanId": row["id"], "ParentSpanId": row["parent"],
            "SpanName": row["name"], "SpanKind": row["kind"], "ServiceName": "chat",
            "SpanAttributes": {"a": "it's"}, "Duration": str(row["took"] * 1000),
            "StatusCode": "Unset",
        }
        for row in ROWS
    ]  # fmt: skip


def _clickhouse_parquet() -> bytes:
    rows = _clickhouse()
    table = pa.table(
        {
            name: pa.array([row[name].encode() for row in rows], pa.binary())
            for name in rows[0]
            if name not in {"Timestamp", "Duration", "SpanAttributes"}
        }
    )
    starts = pa.array([(START_US + row["at"]) * 1000 for row in ROWS])
    table = table.append_column("Timestamp", starts.cast(pa.timestamp("ns", "UTC")))
    took = pa.array([row["took"] * 1000 for row in ROWS], pa.uint64())
    table = table.append_column("Duration", took)
    attributes = pa.array([[("a", "b")], [("a", "c")]], pa.map_(pa.string(), pa.string()))
    sink = io.BytesIO()
    pq.write_table(table.append_column("SpanAttributes", attributes), sink)
    return sink.getvalue()


def _zipkin_1() -> list[Any]:
    here = {"serviceName": "chat"}
    ends = {"Server": ("sr", "ss"), "Client": ("cs", "cr")}
    return [
        {
            "traceId": files.TRACE, "id": row["id"], "name": row["name"],
            **({"parentId": row["parent"]} if row["parent"] else {}),
            "annotations": [
                {"timestamp": START_US + at, "value": word, "endpoint": here}
                for at, word in zip(
                    (row["at"], row["at"] + row["took"]), ends[row["kind"]], strict=True
                )
            ],
            "binaryAnnotations": [{"key": "k", "value": "v", "endpoint": here}],
        }
        for row in ROWS
    ]  # fmt: skip


def _elastic(*, fields: bool) -> list[Any]:
    tags: dict[str, Any] = {"tag": {"span@kind": "server"}} if fields else {"tags": []}
    return [
        {
            "traceID": files.TRACE, "spanID": row["id"], "operationName": row["name"],
            "references": [
                {"refType": "CHILD_OF", "traceID": files.TRACE, "spanID": parent}
                for parent in [row["parent"]]
                if parent
            ],
            "startTime": START_US + row["at"], "duration": row["took"],
            "process": {"serviceName": "chat", "tags": []}, **tags,
        }
        for row in ROWS
    ]  # fmt: skip


def _elastic_otel() -> list[Any]:
    return [
        {
            "@timestamp": _moment(row["at"]), "trace_id": files.TRACE, "span_id": row["id"],
            **({"parent_span_id": row["parent"]} if row["parent"] else {}), "name": row["name"],
            "kind": row["kind"], "duration": row["took"] * 1000, "status": {"code": "Unset"},
            "resource": {"attributes": {"service.name": "chat"}}, "attributes": {"a": "b"},
        }
        for row in ROWS
    ]  # fmt: skip


def _grafana() -> list[Any]:
    """Times in milliseconds under Jaeger's names."""
    return [
        {
            "traceID": files.TRACE, "spanID": row["id"], "parentSpanID": row["parent"],
            "operationName": row["name"], "serviceName": "chat", "serviceTags": [], "tags": [],
            "startTime": (START_US + row["at"]) / 1000, "duration": row["took"] / 1000,
        }
        for row in ROWS
    ]  # fmt: skip


def _csv(header: str, line: str, separator: str = ",") -> bytes:
    lines = [header, *(line.format(t=files.TRACE, s=START_US + row["at"], **row) for row in ROWS)]
    return "\n".join(lines).replace(",", separator).encode()


def _docker(content: bytes) -> bytes:
    return _lines(
        [
            {"log": f"{one}\n", "stream": "stdout", "time": "t"}
            for one in content.decode().split("\n")
        ]
    )


def _cri(content: bytes) -> bytes:
    """Lines cut into parts of 300 characters."""
    found = []
    for line in content.decode().splitlines():
        parts = [line[i : i + 300] for i in range(0, len(line), 300)]
        found += [f"2026-11-30T12:00:00.1Z stdout P {part}" for part in parts[:-1]]
        found.append(f"2026-11-30T12:00:00.1Z stdout F {parts[-1]}")
    return "\n".join(found).encode()


def _prefixed(prefix: bytes, content: bytes) -> bytes:
    return b"\n".join(prefix + line for line in content.split(b"\n"))


OTLP = files.text(files.otlp())
RESOURCE = files.otlp()["resourceSpans"][0]
METRICS = b'{"resourceMetrics": [{"scopeMetrics": []}]}'
PROTOBUF = files.request().SerializeToString()

FORMS: dict[str, Callable[[], bytes]] = {
    "tempo 1": lambda: files.text({"batches": [RESOURCE]}),
    "tempo 2": lambda: files.text({"trace": {"resourceSpans": [RESOURCE]}, "metrics": {}}),
    "jaeger 3, streamed": lambda: _lines([{"result": {"resourceSpans": [RESOURCE]}}]),
    "java": lambda: files.text(RESOURCE),
    "java, logged": lambda: b"Nov 30, 2026 export\nINFO: " + files.text(RESOURCE) + b"\n[main] x",
    "otlp, old names": lambda: OTLP.replace(b"scopeSpans", b"instrumentationLibrarySpans"),
    "collector, proto": lambda: _framed(PROTOBUF, _metrics()),
    "collector, zstd frames": lambda: _framed(_zstd(OTLP), _zstd(METRICS)),
    "collector, zstd": lambda: _zstd(OTLP + b"\n" + METRICS),
    "mixed signals": lambda: METRICS + b"\n" + OTLP + b"\n",
    "python": lambda: _pretty(_python()),
    "python in docker": lambda: _docker(_pretty(_python())),
    "python in compose": lambda: _prefixed(b"web-1  | ", _pretty(_python())),
    "python among lines": lambda: b"Listening\n" + _pretty(_python()) + b"\nGET / {200}\n",
    "go": lambda: _lines(_go()),
    "go, pretty": lambda: _pretty(_go()),
    "go, list": lambda: files.text(_go()),
    "elastic": lambda: _lines(_elastic(fields=False)),
    "elastic, export": lambda: _lines([{"_source": one} for one in _elastic(fields=True)]),
    "elastic, answer": lambda: files.text(
        {"hits": {"hits": [{"_source": one} for one in _elastic(fields=False)]}}
    ),
    "clickhouse": lambda: _lines(_clickhouse()),
    "clickhouse, json": lambda: files.text({"meta": [], "data": _clickhouse(), "rows": 2}),
    "clickhouse, parquet": _clickhouse_parquet,
    "clickhouse, types": lambda: _csv(
        "Timestamp,TraceId,SpanId,ParentSpanId,SpanName,SpanKind,ServiceName,SpanAttributes,"
        'Duration,StatusCode\n"DateTime64(9)",String,String,String,LowCardinality(String),'
        'LowCardinality(String),LowCardinality(String),"Map(String, String)",UInt64,String',
        "{s}000,{t},{id},{parent},{name},Server,chat,{{}},{took}000,Unset",
    ),
    "tempo 2, protobuf": lambda: b"\x0a" + files.delimited(files.request()) + b"\x12\x02\x08\x05",
    "elastic, zipkin's": lambda: _lines([{"_source": one} for one in files.zipkin()]),
    "elastic, bulk": lambda: _lines(
        [line for one in _elastic(fields=False) for line in ({"index": {"_index": "j"}}, one)]
    ),
    "elastic, OpenTelemetry's": lambda: _lines(_elastic_otel()),
    "grafana's table": lambda: files.text(_grafana()),
    "clickhouse, compact json": lambda: files.text(
        {
            "meta": [{"name": name, "type": "String"} for name in _clickhouse()[0]],
            "data": [list(row.values()) for row in _clickhouse()],
            "rows": 2,
        }
    ),
    "go before 1.0": lambda: _lines(
        [{**one, "Parent": None, "ParentSpanID": one["Parent"]["SpanID"]} for one in _go()]
    ),
    "python in compose, in colours": lambda: _prefixed(
        b"\x1b[36mweb-1  | \x1b[0m", _pretty(_python())
    ),
    "python behind a logger": lambda: _prefixed(b"INFO:shop:", _lines(_python()).rstrip()),
    "fluentd": lambda: _prefixed(
        b"2026-11-30 12:00:00 +0000 docker.web: ", _docker(_lines(_python()).rstrip()).rstrip()
    ),
    "zipkin 1": lambda: files.text(_zipkin_1()),
    "zipkin 1, lines": lambda: _lines(_zipkin_1()),
    "zipkin 2, lines": lambda: _lines(files.zipkin()),
    "byte order mark": lambda: b"\xef\xbb\xbf" + OTLP,
    "utf-16": lambda: OTLP.decode().encode("utf-16"),
    "windows": lambda: _lines(_clickhouse()).replace(b"\n", b"\r\n"),
    "docker": lambda: _docker(OTLP),
    "kubernetes": lambda: _cri(OTLP),
    "rcaeval": lambda: _csv(
        "time,traceID,spanID,serviceName,methodName,operationName,startTimeMillis,startTime,"
        "duration,statusCode,parentSpanID",
        "1,{t},{id},chat,{name},{name},1,{s},{took},0,{parent}",
    ),
    "nezha": lambda: _csv(
        "TraceID,SpanID,ParentID,PodName,OperationName,StartTimeUnixNano,EndTimeUnixNano,Duration",
        "{t},{id},{parent},chat,{name},{s}000,{s}000,{took}",
    ),
    "known by names": lambda: _csv(
        "trace_id,span_id,parent_id,service,name,start_time,duration_us",
        "{t},{id},{parent},chat,{name},{s},{took}",
        ";",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_a_trace_is_the_same_in_every_form(tmp_path: Path, name: str) -> None:
    """Ids, parents, services, names and times come back whatever tool wrote them."""
    (tmp_path / "x").write_bytes(FORMS[name]())

    found = traces.read(tmp_path / "x").sort_values("start_ns")

    assert [files.TRACE] * 2 == found["trace_id"].tolist()
    assert [files.ROOT, files.CALL] == found["span_id"].tolist()
    assert [None, files.ROOT] == [
        p if isinstance(p, str) else None for p in found["parent_span_id"]
    ]
    assert ["chat"] * 2 == found["service"].tolist()
    assert ["POST /chat", "SELECT carts"] == found["name"].tolist()
    assert [START_US * 1000, (START_US + 100) * 1000] == found["start_ns"].tolist()
    if name != "nezha":  # whose ends are its starts here
        assert [1_000_000, 300_000] == found["duration_ns"].tolist()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"x" * 257 + b"ustar" + bytes(300), "is a tar archive"),
        (gzip.compress(b"x" * 257 + b"ustar" + bytes(300), mtime=0), "is a tar archive"),
        (b"PK\x03\x04" + bytes(50), "is a zip archive"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "is a PNG image"),
        (b"<!DOCTYPE html><html></html>", "is an HTML page"),
        (b"trace_id,name,start,duration\nx,y,1,2\n", "is a CSV without a span id"),
        (b"a,b,c\n1,2,3\n", "is a CSV without a trace id"),
        (b"\"2026-11-30 12:00:00\",\"a\",\"b\",\"\",\"{'k':'v'}\"\n\"2026-11-30 12:00:01\",a,c,\n",
         "is a table without a line of column names"),
        (METRICS, "is OTLP metrics, no traces"),
        (_framed(_metrics()), "holds OTLP metrics, no traces"),
        (b'{"log": {"version": "1.2", "entries": []}}', "is a HAR file"),
        (b'{"traces": [{"traceID": "a"}], "metrics": {}}', "a page of Tempo's search results"),
        (b'{"data": ["chat"], "total": 1}', "is a list of names"),
        (b'{"data": {"trace": {"spans": []}}}', "is an answer of SkyWalking's"),
        (b'{"data": [{"type": "spans", "attributes": {}}]}', "is an answer of Datadog's API"),
        (b'{"trace": {"root_id": "1", "spans": {}}}', "is a trace of Datadog's pages"),
        (b'{"Traces": [{"Id": "1-5f", "Segments": []}]}', "is an answer of AWS X-Ray's"),
        (b'{"id": "a", "name": "x", "trace_id": "1-58-a", "start_time": 1.5, "end_time": 2.5}',
         "is a segment of AWS X-Ray's"),
        (b'{"event_id": "a", "contexts": {}, "spans": []}', "is an event of Sentry's"),
        (b"{\n  traceId: 'abc',\n  parentId: undefined,\n}\n", "Node's ConsoleSpanExporter"),
        (b"Activity.TraceId:            abc\n", ".NET's console exporter"),
        (b"", "is empty"),
        (b"[" * 100_000, "is not whole JSON"),
        (b"42", "is text that holds no traces"),
    ],
)  # fmt: skip
def test_what_is_no_traces_is_refused_as_what_it_is(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    """The sentence says what the file is, never that it is damaged protobuf."""
    (tmp_path / "x").write_bytes(content)

    with pytest.raises(InputError, match=sentence):
        traces.read(tmp_path / "x")


def test_a_folder_of_three_signals_gives_its_traces(tmp_path: Path) -> None:
    """Metrics and a README are named and passed over; a folder without any traces is refused."""
    (tmp_path / "metrics.json").write_bytes(METRICS)
    (tmp_path / "README.md").write_bytes(b"# A recording\n")
    with pytest.raises(InputError, match="Nothing that was named holds traces"):
        traces.read(tmp_path)
    (tmp_path / "traces.json").write_bytes(OTLP)

    found = traces.read(tmp_path)

    assert 2 == len(found)
    assert 2 == len(found.attrs["passed_over"])


def test_a_span_of_datadogs_is_named_by_its_resource(tmp_path: Path) -> None:
    """The agent's payload: lists of spans of a trace, decimal ids, attributes in meta."""
    about = {"trace_id": 123, "service": "shop", "start": START_US * 1000, "metrics": {}}
    spans = [
        {"span_id": 1, "parent_id": 0, "name": "web.request", "resource": "GET /items",
         "duration": 9000, "meta": {"http.method": "GET"}, **about},
        {"span_id": 2, "parent_id": 1, "name": "postgres.query", "resource": "SELECT a FROM t",
         "duration": 5000, **about,
         "meta": {"db.system": "postgresql", "sql.query_type": "Query"}},
    ]  # fmt: skip
    (tmp_path / "x").write_bytes(files.text([spans]))

    found = traces.read(tmp_path / "x")

    assert ["GET /items", "SELECT a FROM t"] == found["name"].tolist()
    assert ["1"] == found["parent_span_id"].dropna().tolist()
    assert ["postgresql"] == found["db_system"].dropna().tolist()
    assert ["Query"] == found["db_operation"].dropna().tolist()
    assert [9000, 5000] == found["duration_ns"].tolist()


def test_a_span_of_alibabas_call_graphs_is_below_the_one_whose_id_it_continues(
    tmp_path: Path,
) -> None:
    """0.1.2 is called by 0.1; where that was not recorded a span has no parent."""
    rows = ["1000,t1,0.1,u,http,front,a,9", "1001,t1,0.1.2,front,rpc,back,b,-4",
            "1002,t1,0.3.1,x,db,store,c,2"]  # fmt: skip
    file = tmp_path / "x"
    file.write_text("\n".join(["timestamp,traceid,rpcid,um,rpctype,dm,interface,rt", *rows]))

    found = traces.read(file)

    parents = [p if isinstance(p, str) else None for p in found["parent_span_id"]]
    assert [None, "0.1", None] == parents
    assert [9_000_000, 4_000_000, 2_000_000] == found["duration_ns"].tolist()


def test_columns_can_be_named(tmp_path: Path) -> None:
    """A table of any names is read with a map and its unit; an unknown name is told."""
    file = tmp_path / "x.csv"
    file.write_bytes(_csv("a,b,c,d,e,f,g", "{t},{id},{parent},chat,{name},{s},{took}"))
    names = {
        "trace_id": "a", "span_id": "b", "parent_span_id": "c", "service": "d", "name": "e",
        "start": "f:us", "duration": "g:us",
    }  # fmt: skip

    found = traces.read(file, column_map=names)

    assert [1_000_000, 300_000] == found["duration_ns"].tolist()
    with pytest.raises(InputError, match="There is no column 'z'"):
        traces.read(file, column_map={**names, "name": "z"})


class _Jaeger3(BaseHTTPRequestHandler):
    """A Jaeger that has /api/v3 alone: its page answers everything else."""

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        answers: dict[str, Any] = {"/api/v3/services": {"services": ["chat"]}}
        if path.startswith("/api/v3/traces"):
            answers[path] = {"result": files.otlp()}
        kind = "application/json" if path in answers else "text/html"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(files.text(answers[path]) if path in answers else b"<!doctype html>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("page", ["", f"/trace/{files.TRACE}", "/search?service=chat&limit=20"])
def test_a_jaeger_of_version_3_is_read_by_any_of_its_addresses(page: str) -> None:
    """Its base address and the addresses of its pages give the traces."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Jaeger3) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        found = traces.read(f"http://127.0.0.1:{server.server_port}{page}")
        server.shutdown()

    assert 2 == len(found)
