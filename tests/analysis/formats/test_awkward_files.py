import base64
import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import shares, traces
from analysis.checks import trace_quality
from analysis.errors import AnalysisError, ColumnError, InputError
from analysis.formats import found
from analysis.formats.reading import Reading
from tests.support.traces import trace_files as files

DECADES_NS = 1_764_000_000 * 10**9
"""A date of today."""


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _tagged(tags: dict[str, str]) -> dict[str, bytes]:
    """One span with these attributes in each format."""
    span = {"traceId": "a" * 32, "id": "b" * 16, "name": "x", "timestamp": 5, "duration": 2}
    pairs = [{"key": key, "value": {"stringValue": value}} for key, value in tags.items()]
    otlp = files.otlp()
    otlp["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"] = pairs
    message = files.request()
    one = message.resource_spans[0].scope_spans[0].spans[0]
    del one.attributes[:]
    for key, value in tags.items():
        one.attributes.add(key=key).value.string_value = value
    jaeger = files.jaeger()
    jaeger["data"][0]["spans"][0]["tags"] = [{"key": k, "value": v} for k, v in tags.items()]
    return {
        "zipkin": files.text([{**span, "tags": tags}]), "otlp": files.text(otlp),
        "otlp protobuf": files.delimited(message), "jaeger": files.text(jaeger),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["zipkin", "otlp", "otlp protobuf", "jaeger"])
def test_only_what_a_column_takes_leaves_the_attributes(tmp_path: Path, name: str) -> None:
    """The newest name that can be read counts; what it did not take is still there, as it was."""
    tags = {
        "db.type": "sql", "db.system": "mariadb", "db.system.name": "",
        "db.operation.name": "SELECT", "cache.hit": "1",
    }  # fmt: skip

    row = traces.read(_write(tmp_path / "x", _tagged(tags)[name])).iloc[0]

    assert ("mariadb", "SELECT") == (row["db_system"], row["db_operation"])
    assert pd.isna(row["cache_hit"])
    left = json.loads(row["attributes"])
    left.pop("otel.scope.name", None)  # what only some of the formats know
    assert {"db.type": "sql", "db.system.name": "", "cache.hit": "1"} == left


def _otlp_times(start: int | None, end: int) -> dict[str, bytes]:
    """A root of these times, in ns, and its child of today."""
    document, message = files.otlp(), files.request()
    span = document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    one = message.resource_spans[0].scope_spans[0].spans[0]
    span["endTimeUnixNano"] = str(end)
    one.end_time_unix_nano = end
    if start is None:
        del span["startTimeUnixNano"]
    else:
        span["startTimeUnixNano"] = str(start)
    one.start_time_unix_nano = start or 0
    return {"json": files.text(document), "protobuf": files.delimited(message)}


@pytest.mark.parametrize("form", ["json", "protobuf"])
@pytest.mark.parametrize(
    ("given", "expected", "issue_of"),
    [
        ((None, DECADES_NS), (0, None), "no times"),
        ((0, DECADES_NS), (0, None), "no times"),
        ((2**64 - 1, DECADES_NS), (0, None), "no times"),
        ((DECADES_NS, 2**64 - 1), (DECADES_NS, None), "unfinished span"),
        ((None, 5000), (0, 5000), None),
        ((0, 5000), (0, 5000), None),
    ],
)
def test_a_time_that_nobody_gave_is_no_time(
    tmp_path: Path,
    form: str,
    given: tuple[int | None, int],
    expected: tuple[int, int | None],
    issue_of: str | None,
) -> None:
    """A start that is missing or beyond int64 is an issue, and not 54 years; 0 is a start too."""
    spans = traces.read(_write(tmp_path / "x", _otlp_times(*given)[form]))

    first = spans.iloc[0]
    duration = None if pd.isna(first["duration_ns"]) else first["duration_ns"]
    assert expected == (first["start_ns"], duration)
    found_issues = set(trace_quality.issues(spans)["issue"]) & {"no times", "unfinished span"}
    assert ({issue_of} if issue_of else set()) == found_issues
    assert shares.request_shares(spans)["critical_ms"].max() < 1


def test_a_resource_names_the_arm_in_json_as_in_protobuf(tmp_path: Path) -> None:
    """A span outside of any request takes its service's arm; one that names an arm keeps it."""
    document = files.otlp()
    about = document["resourceSpans"][0]["resource"]["attributes"]
    about.append({"key": "worthit.arm", "value": {"stringValue": "on"}})
    alone = {"traceId": "2" * 32, "spanId": "3" * 16, "name": "startup"}
    document["resourceSpans"][0]["scopeSpans"][0]["spans"].append(alone)

    read = traces.read(_write(tmp_path / "x", files.text(document))).set_index("name")["arm"]

    assert {"POST /chat": "off", "startup": "on"} == read.drop("SELECT carts").to_dict()


def _of_length(length: int) -> bytes:
    """A recording whose first message is so many bytes long, so that it begins like JSON."""
    message = files.request()
    spans = message.resource_spans[0].scope_spans[0].spans
    del spans[1:], spans[0].attributes[:]
    spans[0].name = "x"
    spans[0].name = "x" * (1 + length - message.ByteSize())
    assert length == message.ByteSize()
    return files.delimited(message, files.request())


@pytest.mark.parametrize("length", [91, 123])
def test_a_recording_may_begin_like_json(tmp_path: Path, length: int) -> None:
    """A first message of 91 or 123 bytes puts [ or { at the front, and is a message."""
    content = _of_length(length)
    assert content[:1] in b"[{"

    assert 3 == len(traces.read(_write(tmp_path / "x", content)))


@pytest.mark.parametrize("zipped", [False, True])
def test_what_an_exporter_posts_is_read(tmp_path: Path, *, zipped: bool) -> None:
    """One ExportTraceServiceRequest without a length before it is read, gzipped or not."""
    content = files.request().SerializeToString()

    read = traces.read(_write(tmp_path / "x", gzip.compress(content) if zipped else content))

    assert [files.ROOT, files.CALL] == read["span_id"].tolist()


def test_gzipped_parquet_is_read(tmp_path: Path) -> None:
    """Parquet inside gzip is known by its content as everything else."""
    plain = traces.read(_write(tmp_path / "x", files.text(files.zipkin())))
    plain.to_parquet(tmp_path / "y")
    zipped = _write(tmp_path / "z", gzip.compress((tmp_path / "y").read_bytes()))

    pd.testing.assert_frame_equal(plain, traces.read(zipped))


def test_a_damaged_first_line_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    """JSON lines are known by any whole line of traces, not by the first one alone."""
    file = _write(tmp_path / "x", b"{oops\n" + files.text(files.otlp()) + b"\n")

    with pytest.raises(InputError, match="x, line 1 is damaged"):
        traces.read(file)
    rest = traces.read(file, skip_damaged=True)
    assert 2 == len(rest)
    assert 1 == len(rest.attrs["damaged"])


def test_what_lies_before_the_damage_in_gzip_is_read(tmp_path: Path) -> None:
    """Bytes changed in the middle of a gzipped file cost what comes after them."""
    rng = np.random.default_rng(1)
    lines = []
    for _ in range(400):
        span = {"traceId": rng.bytes(16).hex(), "id": rng.bytes(8).hex(), "name": "x"}
        lines.append(files.text([{**span, "timestamp": 5, "duration": 2}]))
    zipped = bytearray(gzip.compress(b"\n".join(lines)))
    middle = len(zipped) // 2
    zipped[middle : middle + 40] = b"\xff" * 40
    with pytest.raises(zlib.error):
        gzip.decompress(bytes(zipped))

    rest = traces.read(_write(tmp_path / "x", bytes(zipped)), skip_damaged=True)

    assert 150 < len(rest) < 250
    assert "damaged gzip" in rest.attrs["damaged"][0]


def test_a_recording_is_read_a_batch_at_a_time(tmp_path: Path) -> None:
    """What is dealt out to parts holds a batch of a recorder's file in memory, not the file."""
    one = files.delimited(files.request())
    count = (1 << 25) // len(one) + 1000
    file = _write(tmp_path / "x", one * count)

    sizes = [rows.num_rows for rows in found.batches(file, None, Reading())]

    assert 2 == len(sizes)
    assert 2 * count == sum(sizes)


def test_damage_inside_a_message_is_named_by_its_place(tmp_path: Path) -> None:
    """A message in the middle that cannot be decoded is named by the byte where it begins."""
    good = files.delimited(files.request())
    content = good + b"\x03\x0a\x7f\x01" + good

    with pytest.raises(InputError, match=f"damaged at byte {len(good) + 1}: 3 bytes"):
        traces.read(_write(tmp_path / "x", content))


def _parquet(path: Path, **columns: Any) -> Path:  # noqa: ANN401 - whatever Arrow takes
    table = {
        "trace_id": ["t"], "span_id": ["a"], "parent_span_id": pa.nulls(1, pa.string()),
        "service": ["s"], "name": ["n"], "start_ns": [1], "duration_ns": [2],
    }  # fmt: skip
    pq.write_table(pa.table({**table, **columns}), path)
    return path


def test_parquet_of_others_is_read_in_its_own_units(tmp_path: Path) -> None:
    """Durations in µs are nanoseconds here, and a map's bytes are hex, as OTLP's are."""
    file = _parquet(
        tmp_path / "x",
        start_ns=pa.array([3], pa.timestamp("us", "UTC")),
        duration_ns=pa.array([7], pa.duration("us")),
        attributes=pa.array([[("k", b"\x00\xff")]], pa.map_(pa.string(), pa.binary())),
    )

    row = traces.read(file).iloc[0]

    assert (3000, 7000, '{"k":"00ff"}') == (row["start_ns"], row["duration_ns"], row["attributes"])


def test_a_span_without_a_start_is_an_issue(tmp_path: Path) -> None:
    """A null start in Parquet costs that span its times, and no more."""
    nothing = pa.array([None], pa.int64())

    spans = traces.read(_parquet(tmp_path / "x"), _parquet(tmp_path / "y", start_ns=nothing))

    assert [1, 0] == spans["start_ns"].tolist()
    assert [False, True] == spans["duration_ns"].isna().tolist()
    assert "no times" in set(trace_quality.issues(spans)["issue"])


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"name": pa.array([{"a": 1}])}, "column name holds struct"),
        ({"start_ns": pa.array([{"a": 1}])}, "column start_ns holds struct"),
        ({"start_ns": pa.array([2**64 - 1], pa.uint64())}, "column start_ns holds uint64"),
        (
            {"attributes": pa.array([{"a": [{"b": {"c": b"x"}}]}])},
            None,
        ),
    ],
)
def test_what_parquet_cannot_mean_is_one_sentence(
    tmp_path: Path, columns: dict[str, pa.Array], sentence: str | None
) -> None:
    """A column of another kind is named; nested attributes of any kind are written as JSON."""
    file = _parquet(tmp_path / "x", **columns)

    if sentence is None:
        assert '{"a":[{"b":{"c":"78"}}]}' == traces.read(file)["attributes"][0]
    elif "name" in columns:
        assert '{"a":1}' == traces.read(file)["name"][0]
    else:
        with pytest.raises(ColumnError, match=sentence):
            traces.read(file)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [("http://[::1", "is no address"), ("http://host:port/", "is no address")],
)
def test_an_address_that_is_none_is_said(address: str, sentence: str) -> None:
    """What is no URL is one sentence that shows what an address looks like."""
    with pytest.raises(InputError, match=sentence):
        traces.read(address)


def test_errors_that_jaeger_answers_are_told(tmp_path: Path) -> None:
    """An answer of errors and no data is no empty table."""
    answer = {"data": None, "errors": [{"code": 404, "msg": "trace not found"}]}
    file = _write(tmp_path / "x", files.text(answer))

    with pytest.raises(InputError, match="x: Jaeger answered no traces but errors: trace not fou"):
        traces.read(file)


def _foreign(folder: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), folder / "foreign.parquet")


@pytest.mark.parametrize("explicit", [False, True])
def test_damaged_files_are_left_out_when_asked(tmp_path: Path, *, explicit: bool) -> None:
    """Named by itself or in a folder, the rest is read."""
    _write(tmp_path / "bad.json", b"{")
    _write(tmp_path / "good", files.text(files.zipkin()))
    paths = sorted(tmp_path.iterdir()) if explicit else [tmp_path]

    rest = traces.read(*paths, skip_damaged=True)

    assert 2 == len(rest)
    assert 1 == len(rest.attrs["damaged"])
    with pytest.raises(AnalysisError):
        traces.read(*paths)


@pytest.mark.parametrize(
    "other",
    [_foreign, lambda folder: _write(folder / "base64", base64.b64encode(b"nothing"))],
)
def test_other_files_are_passed_over_in_a_folder_and_refused_by_name(
    tmp_path: Path, other: Callable[[Path], object]
) -> None:
    """What is no traces is named and passed over where a folder was asked for, else refused."""
    other(tmp_path)
    _write(tmp_path / "good", files.text(files.zipkin()))

    rest = traces.read(tmp_path)

    assert 2 == len(rest)
    assert 1 == len(rest.attrs["passed_over"])
    with pytest.raises(AnalysisError):
        traces.read(*sorted(tmp_path.iterdir()))


def test_a_run_in_a_folder_stands_for_its_spans(tmp_path: Path) -> None:
    """A folder of runs is read without their other tables, and without what is hidden."""
    for name in ("first", "second", ".unfinished"):
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        _parquet(run / "spans.parquet", trace_id=[name])
        (run / "manifest.json").write_text("{}")
        _foreign(run)

    assert ["first", "second"] == traces.read(tmp_path / "runs")["trace_id"].tolist()
