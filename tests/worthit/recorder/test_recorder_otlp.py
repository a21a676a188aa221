"""What the recorder takes for OTLP, and how it writes it."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.traces.otlp import batch_of_traces, json_of_traces, read_recording
from worthit.recorder.files import DelimitedFile, varint
from worthit.recorder.live import live
from worthit.recorder.otlp import (
    LOGS,
    MAX_DECODED_BYTES,
    METRICS,
    TRACES,
    Batch,
    RefusedError,
    Signal,
    from_json,
    from_protobuf,
    unpack,
)


def test_json_becomes_the_protobuf_it_stands_for() -> None:
    """OTLP/JSON with hexadecimal ids decodes to the same message as the protobuf original."""
    batch = from_json(TRACES, json_of_traces(range(3)))

    expected = ExportTraceServiceRequest.FromString(batch_of_traces(range(3)))
    assert ExportTraceServiceRequest.FromString(batch.data) == expected
    assert batch.items == 30


def test_json_of_other_makes_is_understood() -> None:
    """Unknown fields are ignored, enums may be names, an attribute called traceId stays text."""
    span = {
        "traceId": "5B8EFFF798038103D269B633813FC60C",
        "spanId": "eee19b7ec3c1b174",
        "name": "x",
        "kind": "SPAN_KIND_SERVER",
        "startTimeUnixNano": 1,
        "endTimeUnixNano": "2",
        "attributes": [{"key": "traceId", "value": {"stringValue": "abc"}}],
        "links": [{"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b175"}],
        "newFieldOfTomorrow": {"a": 1},
    }
    body = orjson.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})

    message = ExportTraceServiceRequest.FromString(from_json(TRACES, body).data)

    found = message.resource_spans[0].scope_spans[0].spans[0]
    assert found.trace_id.hex() == "5b8efff798038103d269b633813fc60c"
    assert found.links[0].span_id.hex() == "eee19b7ec3c1b175"
    assert found.attributes[0].value.string_value == "abc"
    assert found.kind == 2


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"7", b'{"resourceSpans": 7}', b'{"resourceSpans": [7]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "zz"}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": 7}]}]}]}',
        b"[" * 5000 + b"]" * 5000, b"\xff\xfe",
    ],
)  # fmt: skip
def test_json_that_is_no_otlp_is_refused(body: bytes) -> None:
    """Every kind of wrong JSON is a refusal, none an exception of another kind."""
    with pytest.raises(RefusedError):
        from_json(TRACES, body)


def outcome(read: Callable[[Signal, bytes], Batch], signal: Signal, data: bytes) -> int:
    """200 when taken, else the status of the refusal; any other exception is a failure."""
    try:
        read(signal, data)
    except RefusedError as refused:
        return refused.status
    return 200


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused(data: bytes) -> None:
    """No bytes make the recorder fail: they decode, or they are refused."""
    for read in (from_protobuf, from_json):
        for signal in (TRACES, METRICS, LOGS):
            assert outcome(read, signal, data) in {200, 400}


KEYS = ["resourceSpans", "scopeSpans", "spans", "traceId", "name", "kind", "value"]
LEAVES = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        LEAVES,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
        ),
        max_leaves=12,
    )
)
def test_any_json_is_taken_or_refused(value: object) -> None:
    """No JSON makes it fail either, above all none that looks nearly right."""
    assert outcome(from_json, TRACES, json.dumps(value).encode()) in {200, 400}


def test_encodings_are_undone() -> None:
    """gzip, deflate and none give the same bytes."""
    data = b"hello" * 1000

    assert unpack(data, "") == data
    assert unpack(gzip.compress(data), "gzip") == data
    assert unpack(zlib.compress(data), " Deflate ") == data


def test_a_gzip_of_several_parts_is_one() -> None:
    """Senders that append one gzip to another, or zeros, lose nothing; the limit is for all."""
    parts = [b"hello" * 1000, b"", b"you" * 7]

    assert unpack(b"".join(map(gzip.compress, parts)) + b"\0" * 9, "gzip") == b"".join(parts)

    half = gzip.compress(b"\0" * (MAX_DECODED_BYTES // 2), 1)
    assert len(unpack(half + half, "gzip")) == MAX_DECODED_BYTES
    with pytest.raises(RefusedError, match="more than"):
        unpack(half + half + gzip.compress(b"x"), "gzip")


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"no gzip", "gzip", 400),
        (gzip.compress(b"x" * 1000)[:-9], "gzip", 400),
        (gzip.compress(b"\0" * (MAX_DECODED_BYTES + 1), 1), "gzip", 413),
        (b"x", "br", 415),
    ],
    ids=["no gzip", "cut off", "a bomb", "unknown"],
)
def test_encodings_that_do_not_hold_are_refused(body: bytes, encoding: bytes, status: int) -> None:
    """Damaged, cut off, unpacking without end, unknown: each with its status."""
    with pytest.raises(RefusedError) as raised:
        unpack(body, encoding)

    assert raised.value.status == status


@given(st.integers(min_value=0, max_value=1 << 40))
def test_lengths_are_written_as_protobuf_does(number: int) -> None:
    """Our varint is the one that protobuf reads."""
    at, shift, value = 0, 0, 0
    written = varint(number)
    while True:
        value |= (written[at] & 0x7F) << shift
        if written[at] < 0x80:
            break
        at, shift = at + 1, shift + 7

    assert (value, at + 1) == (number, len(written))


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    """Messages of one recorder and the next stand one after the other."""
    messages = [batch_of_traces([i]) for i in range(3)] + [b""]
    for part in (messages[:2], messages[2:]):
        file = DelimitedFile(tmp_path / "x")
        for message in part:
            file.append(message)
        file.close()

    found = read_recording((tmp_path / "x").read_bytes())
    assert found == [ExportTraceServiceRequest.FromString(message) for message in messages]


def test_live_counts_by_operation() -> None:
    """Ten traces in two seconds are five a second of each operation, with queries, self time."""
    answer = live([batch_of_traces(range(5)), batch_of_traces(range(5, 10))], seconds=2.0)

    rows = {row["name"]: row for row in answer["operations"]}
    assert answer["spans"] == 100
    assert answer["queries_per_s"] == 10.0  # two SELECTs a trace
    assert rows["SELECT memories"]["spans_per_s"] == 5.0
    assert rows["POST /chat"]["queries_per_s"] == 10.0
    # its children begin together, and the longest of them takes 2300 ms
    assert rows["POST /chat"]["mean_self_ms"] == pytest.approx(3000 - 2300, abs=0.01)
    assert rows["POST /chat"]["service"] == "chat"


def test_live_counts_queries_as_the_report_does() -> None:
    """An ORM's span over the driver's, a BEGIN and a connect are one query of the request."""
    text = {"db.system": "mysql", "db.statement": "SELECT * FROM item WHERE id = 1"}
    spans = [
        ("GET /item", 0, 0, 100, {}),
        ("connect", 1, 5, 10, {"db.system": "mysql"}),
        ("BEGIN", 1, 12, 13, {"db.system": "mysql", "db.statement": "BEGIN"}),
        ("session.query", 1, 20, 50, text),
        ("SELECT shop", 4, 25, 45, text),
    ]
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for number, (name, parent, start, end, attributes) in enumerate(spans, start=1):
        span = scope.spans.add(
            name=name, trace_id=b"t" * 16, span_id=number.to_bytes(8, "big"),
            kind=3 if parent else 2, start_time_unix_nano=10**18 + start,
            end_time_unix_nano=10**18 + end,
            parent_span_id=parent.to_bytes(8, "big") if parent else b"",
        )  # fmt: skip
        for key, value in attributes.items():
            span.attributes.add(key=key).value.string_value = value

    answer = live([request.SerializeToString()], seconds=1.0)

    assert answer["queries_per_s"] == 1.0
    assert {row["name"]: row["queries_per_s"] for row in answer["operations"]} == {
        "GET /item": 1.0, "session.query": 0.0, "SELECT shop": 0.0, "BEGIN": 0.0, "connect": 0.0,
    }  # fmt: skip


def test_live_says_when_nothing_came() -> None:
    """No spans are no operations, not zeros."""
    assert live([], 5.0)["operations"] == []
