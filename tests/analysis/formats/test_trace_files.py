import gzip
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import traces
from analysis.errors import AnalysisError, ColumnError, InputError
from analysis.formats.columns import to_pandas
from analysis.formats.jaeger import jaeger_json
from tests.support.traces import trace_files as files

FORMATS: dict[str, Callable[[], bytes]] = {
    "jaeger": lambda: files.text(files.jaeger()),
    "jaeger one trace": lambda: files.text(files.jaeger()["data"][0]),
    "jaeger lines": lambda: files.text(files.jaeger()["data"][0]) + b"\n",
    "otlp": lambda: files.text(files.otlp()),
    "otlp wrapped": lambda: files.text({"result": files.otlp()}),
    "otlp lines": lambda: b"\n" + files.text(files.otlp()) + b"\n\n" + b"{}\n",
    "otlp protobuf": lambda: files.delimited(files.request()),
    "zipkin": lambda: files.text(files.zipkin()),
    "zipkin traces": lambda: files.text([files.zipkin()]),
}


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_table(tmp_path: Path, name: str, *, zipped: bool) -> None:
    """One trace in nine spellings, named so as to mislead, is one table with all columns."""
    content = FORMATS[name]()
    file = tmp_path / "traces.parquet"
    file.write_bytes(gzip.compress(content) if zipped else content)

    found = traces.read(file)

    expected = pd.DataFrame(
        {
            "trace_id": [files.TRACE] * 2, "span_id": [files.ROOT, files.CALL],
            "parent_span_id": [None, files.ROOT], "service": ["chat"] * 2,
            "name": ["POST /chat", "SELECT carts"], "kind": ["SERVER", "CLIENT"],
            "start_ns": [files.START_US * 1000, (files.START_US + 100) * 1000],
            "duration_ns": pd.array([1_000_000, 300_000], dtype="Int64"),
            "status": ["UNSET", "ERROR"], "arm": ["off"] * 2,
            "step": pd.array([2, 2], dtype="Int32"), "block": pd.array([5, 5], dtype="Int32"),
            "db_system": [None, "postgresql"], "db_operation": [None, "SELECT"],
            "db_collection": [None, "carts"], "cache_hit": pd.array([None, None], dtype="boolean"),
        }
    )  # fmt: skip
    pd.testing.assert_frame_equal(expected, found[expected.columns.tolist()], check_dtype=False)
    assert {"db.statement": "SELECT 1"}.items() <= json.loads(found["attributes"][1]).items()
    assert {"worthit.arm": "off"}.items() <= json.loads(found["attributes"][0]).items()


def test_the_columns_and_their_types_are_those_of_the_run_directory(tmp_path: Path) -> None:
    """Every format gives the documented columns in their order and types, plus two of our own."""
    file = tmp_path / "a.json"
    file.write_bytes(FORMATS["jaeger"]())

    found = traces.read(file)

    assert {
        "trace_id": "str", "span_id": "str", "parent_span_id": "str", "service": "str",
        "name": "str", "kind": "str", "start_ns": "int64", "duration_ns": "Int64",
        "status": "str", "arm": "str", "step": "Int32", "block": "Int32", "db_system": "str",
        "db_operation": "str", "db_collection": "str", "cache_hit": "boolean",
        "attributes": "str", "follows_from": "boolean", "links": "str",
    } == {name: str(dtype) for name, dtype in found.dtypes.items()}  # fmt: skip


def test_folders_files_and_parquet_are_read_together(tmp_path: Path) -> None:
    """A folder of unlike files, gzipped or not, and a Parquet file beside it make one table."""
    folder = tmp_path / "many" / "deep"
    folder.mkdir(parents=True)
    for number, content in enumerate(FORMATS.values()):
        (folder / f"{number}").write_bytes(content() if number % 2 else gzip.compress(content()))
    beside = tmp_path / "spans.bin"
    traces.read(folder).to_parquet(beside)

    found = traces.read(tmp_path / "many", beside)

    assert 4 * len(FORMATS) == len(found)
    pd.testing.assert_frame_equal(
        traces.read(folder / "1"), traces.read(beside).iloc[2:4].reset_index(drop=True)
    )


def test_attributes_may_be_a_map_and_columns_may_be_missing(tmp_path: Path) -> None:
    """Parquet of others is read: a map of attributes becomes JSON, absent columns are null."""
    table = pa.table(
        {
            "trace_id": ["t"], "span_id": ["a"], "parent_span_id": pa.nulls(1, pa.string()),
            "service": ["s"], "name": ["n"], "start_ns": [1], "duration_ns": [2.0],
            "attributes": pa.array([[("k", "v")]], pa.map_(pa.string(), pa.string())),
        }
    )  # fmt: skip
    pq.write_table(table, tmp_path / "x")

    found = traces.read(tmp_path / "x")

    assert '{"k":"v"}' == found["attributes"][0]
    assert 2 == found["duration_ns"][0]
    assert found["arm"].isna().all()


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _without(path: Path, column: str) -> Path:
    table = pa.table({name: ["x"] for name in ("trace_id", "span_id", "service", "name")})
    table = table.append_column("parent_span_id", pa.array(["y"]))
    table = table.append_column("start_ns", pa.array(["soon"]))
    table = table.append_column("duration_ns", pa.array([1]))
    pq.write_table(table.drop([column]) if column else table, path)
    return path


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda p: p / "none", InputError, "none does not exist; name a run directory"),
        (lambda p: p, InputError, "is empty; a run directory or trace files are expected"),
        (lambda p: _write(p / "a.parquet", b"hello there"), InputError,
         "a.parquet is text that holds no traces; OTLP, Jaeger, Zipkin"),
        (lambda p: _write(p / "a", b" \n"), InputError, "a is empty; traces are expected"),
        (lambda p: _write(p / "a", b"PAR1 and no more"), InputError,
         "begins like Parquet and is not whole"),
        (lambda p: _write(p / "a", gzip.compress(FORMATS["jaeger"]())[:-9]), InputError,
         "a is a damaged gzip file"),
        (lambda p: _write(p / "a", b'{"a": 1}'), InputError,
         r"a is JSON without spans \(found \['a'"),
        (lambda p: _write(p / "a", b'{"data": [{"spans"'), InputError,
         "a is not whole JSON: .*line 1 column 19"),
        (lambda p: _write(p / "a", FORMATS["otlp"]() + b"\n{oops\n"), InputError,
         "a, line 2 is damaged"),
        (lambda p: _write(p / "a", FORMATS["otlp protobuf"]() * 2 + b"\xff\x01abc"), InputError,
         r"a is damaged at byte \d+: 5 bytes are no OTLP message"),
        (lambda p: _write(p / "a", b'{"data":[{"traceID":"t","spans":[{"operationName":"x"}]}]}'),
         InputError, "a: a span of trace t lacks what Jaeger gives every span"),
        (lambda p: _write(p / "a", b'{"data":[{"traceID":"t","spans":[7]}]}'), InputError,
         "a: a span of trace t lacks"),
        (lambda p: _write(p / "a", b'{"resourceSpans":[{"scopeSpans":[{"spans":[{}]}]}]}'),
         InputError, "a: a span has no traceId"),
        (lambda p: _write(p / "a", b'[{"traceId":"1","id":"2","timestamp":"x"}]'), InputError,
         "a looks like Zipkin v2 JSON and holds"),
        (lambda p: _without(p / "a", "name"), ColumnError, "a lacks the column name "),
        (lambda p: _without(p / "a", ""), ColumnError,
         "column start_ns holds string that cannot be read as int64"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(
    tmp_path: Path, make: Callable[[Path], Path], error: type[AnalysisError], sentence: str
) -> None:
    """What cannot be read is named with its place, and nothing half-read is given."""
    path = make(tmp_path)

    with pytest.raises(error, match=sentence) as caught:
        traces.read(path)

    assert "\n" not in str(caught.value)


def test_the_rest_of_damaged_files_is_read_when_asked(tmp_path: Path) -> None:
    """With skip_damaged every whole line, message and file is read, and each loss is listed."""
    _write(tmp_path / "1.jsonl", FORMATS["otlp"]() + b"\n{oops\n" + FORMATS["otlp"]())
    _write(tmp_path / "2.bin", FORMATS["otlp protobuf"]() + b"\xff\x01abc")
    _write(tmp_path / "3.md", b"# Read me")
    _write(tmp_path / "4.json", FORMATS["zipkin"]())

    found = traces.read(tmp_path, skip_damaged=True)

    assert 8 == len(found)
    first, second = found.attrs["damaged"]
    assert "1.jsonl, line 2" in first
    assert "2.bin is damaged" in second
    (beside,) = found.attrs["passed_over"]
    assert "3.md is text that holds no traces" in beside


def test_a_recording_becomes_parquet_and_its_lost_tail_is_counted(tmp_path: Path) -> None:
    """A recorder killed in mid-write costs the unfinished message only.

    And says how much it was.
    """
    whole = files.delimited(files.request(), files.request())
    (tmp_path / "rec").write_bytes(whole + whole[: len(whole) // 4])

    done = traces.convert(tmp_path / "rec", tmp_path / "spans.parquet")

    assert (4, 1, len(whole) // 4) == (done.spans, done.traces, done.undecodable_bytes)
    assert 4 == len(traces.read(tmp_path / "spans.parquet"))
    assert {"rec", "spans.parquet"} == {path.name for path in tmp_path.iterdir()}


def test_a_root_that_comes_last_still_names_the_arm(tmp_path: Path) -> None:
    """Children exported before their root get its arm, step and block, over batches too."""
    parts = []
    for place in (1, 0):
        message = files.request()
        del message.resource_spans[0].scope_spans[0].spans[place]
        parts.append(message)
    (tmp_path / "rec").write_bytes(files.delimited(*reversed(parts)))

    traces.convert(tmp_path / "rec", tmp_path / "spans.parquet")

    found = traces.read(tmp_path / "spans.parquet")
    assert ["SELECT carts", "POST /chat"] == found["name"].tolist()
    assert ["off", "off"] == found["arm"].tolist()
    assert [5, 5] == found["block"].tolist()


def test_an_absent_recording_is_said_and_an_empty_one_is_a_table(tmp_path: Path) -> None:
    """No file is an error; a file without spans is a table without rows."""
    with pytest.raises(InputError, match=r"file .*rec cannot be read: No such file"):
        traces.convert(tmp_path / "rec", tmp_path / "out")
    (tmp_path / "rec").touch()

    done = traces.convert(tmp_path / "rec", tmp_path / "out")

    assert (0, 0, 0) == (done.spans, done.traces, done.undecodable_bytes)
    assert traces.read(tmp_path / "out").empty


@pytest.fixture(name="jaeger")
def _jaeger() -> Iterator[str]:
    """A server that answers as Jaeger's HTTP API does; the trace belongs to both services."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers = {
                "/api/services": {"data": ["chat", "db"]},
                "/api/traces": files.jaeger(),
                "/api/v3/traces/1": {"result": files.otlp()},
            }
            body = answers.get(self.path.partition("?")[0])
            self.send_response(200 if body else 404)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_jaeger_is_read_by_its_address(jaeger: str) -> None:
    """An address gives every trace once, whichever services it belongs to.

    A path is asked as is.
    """
    assert [files.ROOT, files.CALL] == traces.read(jaeger)["span_id"].tolist()
    assert 2 == len(traces.read(f"{jaeger}/api/traces?service=chat"))
    assert 2 == len(traces.read(f"{jaeger}/api/v3/traces/1"))


def test_an_address_without_jaeger_is_said(jaeger: str) -> None:
    """What answers wrongly, and what does not answer, are one sentence each."""
    with pytest.raises(InputError, match="answers 404 Not Found; traces are expected"):
        traces.read(f"{jaeger}/wrong/api/traces")
    with pytest.raises(InputError, match=r"Nothing answers at http://127\.0\.0\.1:9/api/services"):
        traces.read("http://127.0.0.1:9")


def test_columns_can_be_chosen(tmp_path: Path) -> None:
    """Only what is asked for and what identifies a span is read, in any format."""
    for number, name in enumerate(("jaeger", "otlp protobuf")):
        file = _write(tmp_path / str(number), FORMATS[name]())
        assert [
            "trace_id", "span_id", "parent_span_id", "service", "name", "start_ns", "duration_ns",
            "arm",
        ] == list(traces.read(file, columns=["arm"]).columns)  # fmt: skip


def _large_jaeger() -> bytes:
    """A document that is long enough to be taken apart, with texts that look like its grammar."""
    trace = {
        "traceID": "t", "processes": {"p": {"serviceName": 'a "b\\ [{}],é'}},
        "spans": [
            {
                "spanID": "a", "operationName": "}], [{", "startTime": 1, "duration": 2,
                "processID": "p", "references": [],
                "tags": [
                    {"key": "db.system", "value": "x\\"}, {"key": "long", "value": "y" * 999}
                ],
            }
        ],
    }  # fmt: skip
    return orjson.dumps({"data": [{**trace, "traceID": f"{i:032x}"} for i in range(1000)]})


@pytest.mark.parametrize("indented", [False, True])
def test_a_large_jaeger_document_is_read_trace_by_trace(tmp_path: Path, *, indented: bool) -> None:
    """Taking the document apart gives what parsing it whole gives."""
    content = _large_jaeger()
    if indented:
        content = orjson.dumps(orjson.loads(content), option=orjson.OPT_INDENT_2)
    (tmp_path / "traces.json").write_bytes(content)

    found = traces.read(tmp_path / "traces.json")

    assert [f"{i:032x}" for i in range(1000)] == found["trace_id"].tolist()
    whole = to_pandas(jaeger_json.table([orjson.loads(content)]))
    pd.testing.assert_frame_equal(whole, found)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b'"duration":', b'"duration":tru', "not whole JSON"),
        (b'},{"traceID"', b'} {"traceID"', "not whole JSON"),
        (b'},{"traceID"', b'},,{"traceID"', "not whole JSON"),
        (b'},{"traceID"', b'},7,{"traceID"', "looks like Jaeger JSON|lacks what Jaeger gives"),
        (b'"spans"', b'"spins"', "JSON without spans"),
        (b'"spanID"', b'"spamID"', "lacks what Jaeger gives every span"),
        (b"}]}", b"}],}", "not whole JSON"),
    ],
)
def test_damage_in_a_large_jaeger_document_is_told_as_in_a_small_one(
    tmp_path: Path, old: bytes, new: bytes, told: str
) -> None:
    """What is no JSON, or no trace, is one sentence, and never half a table."""
    (tmp_path / "traces.json").write_bytes(_large_jaeger().replace(old, new, 1))

    with pytest.raises(InputError, match=told):
        traces.read(tmp_path / "traces.json")
