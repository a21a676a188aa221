import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from analysis import traces
from analysis.errors import AnalysisError
from analysis.kernels.compiled import compiled
from tests.support.traces.trace_files import delimited, request

VALUES: tuple[tuple[str, Any], ...] = (
    ("string_value", "plain"), ("string_value", 'quoted " and \\ and \n'), ("string_value", "ü→𝄞"),
    ("string_value", ""), ("bool_value", True), ("bool_value", False), ("int_value", 0),
    ("int_value", -1), ("int_value", 2**63 - 1), ("int_value", -(2**63)), ("int_value", 17),
    ("double_value", 0.1), ("double_value", -1e300), ("bytes_value", b"\x00\xff"),
)  # fmt: skip


def _any_value(rng: np.random.Generator, into: AnyValue) -> object:
    """Fill in a drawn value and give what JSON should say of it."""
    what = rng.integers(0, len(VALUES) + 3)
    if what == len(VALUES):
        return [_any_value(rng, into.array_value.values.add()) for _ in range(2)]
    if what == len(VALUES) + 1:
        inner = into.kvlist_value.values.add(key="inner")
        return {"inner": _any_value(rng, inner.value)}
    if what > len(VALUES):
        return None
    name, value = VALUES[what]
    setattr(into, name, value)
    return value.hex() if isinstance(value, bytes) else value


def _draw_span(rng: np.random.Generator, span: Span) -> tuple[dict[str, object], list[str]]:
    """Fill in a span; give its attributes and the ids of its links."""
    span.trace_id, span.span_id, span.name = rng.bytes(16), rng.bytes(8), f"op {rng.integers(9)}"
    span.parent_span_id = rng.bytes(8) if rng.random() < 0.5 else b""
    span.kind = Span.SpanKind.ValueType(int(rng.integers(0, 6)))
    span.start_time_unix_nano, span.flags = int(rng.integers(1, 2**62)), 0x301
    if rng.random() < 0.9:
        span.end_time_unix_nano = span.start_time_unix_nano + 5
    span.trace_state, span.status.message = "a=b", "said"
    span.status.code = Status.StatusCode.ValueType(int(rng.integers(0, 3)))
    span.events.add(name="event").attributes.add(key="not.ours")
    attributes = {}
    for key in rng.choice(["a", "b.c", "ö", 'quo"te'], int(rng.integers(0, 5))):
        pair = span.attributes.add(key=str(key))
        attributes[str(key)] = _any_value(rng, pair.value)
    links = [rng.bytes(8) for _ in range(int(rng.integers(0, 3)))]
    for link in links:
        span.links.add(trace_id=b"\1" * 16, span_id=link)
    return attributes, [link.hex() for link in links]


def test_what_is_taken_from_the_bytes_is_what_was_put_in(tmp_path: Path) -> None:
    """Drawn spans with every kind of value, in several resources, come back field by field."""
    rng = np.random.default_rng(12)
    messages = [ExportTraceServiceRequest() for _ in range(20)]
    expected = []
    for number in range(60):
        service = f"service {rng.integers(3)}"
        resource = messages[number // 3].resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = service
        resource.resource.attributes.add(key="n").value.int_value = 3
        for _ in range(2):
            scope = resource.scope_spans.add()
            scope.scope.name = "library"
            for _ in range(int(rng.integers(0, 9))):
                span = scope.spans.add()
                attributes, links = _draw_span(rng, span)
                expected.append(
                    (span, service, attributes | {"otel.scope.name": "library"}, links)
                )
    (tmp_path / "recorded").write_bytes(delimited(*messages))

    found = traces.read(tmp_path / "recorded")

    assert len(expected) == len(found) > 100
    kinds = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
    for row, (span, service, attributes, links) in zip(
        found.to_dict("records"), expected, strict=True
    ):
        assert span.trace_id.hex() == row["trace_id"]
        assert span.span_id.hex() == row["span_id"]
        assert (span.parent_span_id.hex() or None) == (
            row["parent_span_id"] if isinstance(row["parent_span_id"], str) else None
        )
        assert (service, span.name, kinds[span.kind]) == (row["service"], row["name"], row["kind"])
        assert span.start_time_unix_nano == row["start_ns"]
        assert (5 if span.end_time_unix_nano else None) == (
            row["duration_ns"] if row["duration_ns"] == 5 else None
        )
        assert ("UNSET", "OK", "ERROR")[span.status.code] == row["status"]
        said = json.loads(row["attributes"]) if isinstance(row["attributes"], str) else {}
        assert attributes == said
        told = json.loads(row["links"]) if isinstance(row["links"], str) else []
        assert links == [link["span_id"] for link in told]


def test_what_a_scope_says_is_read_from_bytes_as_from_json(tmp_path: Path) -> None:
    """The instrumentation, the policy of a tail sampler and the trace state, in both forms."""
    message = request()
    scope = message.resource_spans[0].scope_spans[0]
    scope.scope.name = "psycopg2"
    scope.scope.attributes.add(key="tailsampling.policy").value.string_value = "slow"
    scope.scope.attributes.add(key="other").value.string_value = "no span's"
    scope.spans[0].trace_state = "ot=th:8"
    scope.spans[1].trace_state = "vendor=1"
    scope.spans[1].attributes.add(key="otel.scope.name").value.string_value = "its own"
    (tmp_path / "bytes").write_bytes(delimited(message))
    (tmp_path / "json").write_text(MessageToJson(message))

    said = [
        [json.loads(text) for text in traces.read(tmp_path / form)["attributes"]]
        for form in ("bytes", "json")
    ]

    assert said[0] == said[1]
    assert {"psycopg2", "its own"} == {one["otel.scope.name"] for one in said[0]}
    assert all(one["tailsampling.policy"] == "slow" and "other" not in one for one in said[0])
    assert ["ot=th:8", None] == [one.get("w3c.tracestate") for one in said[0]]


def test_an_arm_of_the_service_holds_where_no_request_names_one(tmp_path: Path) -> None:
    """A span outside of any request takes its arm from its resource; one inside keeps its own."""
    message = request()
    about = message.resource_spans[0].resource.attributes.add(key="worthit.arm")
    about.value.string_value = "on"
    alone = message.resource_spans[0].scope_spans[0].spans.add(name="startup", trace_id=b"\2" * 16)
    alone.span_id = b"\3" * 8
    (tmp_path / "recorded").write_bytes(delimited(message))

    found = traces.read(tmp_path / "recorded").set_index("name")["arm"]

    assert {"POST /chat": "off", "startup": "on"} == found.drop("SELECT carts").to_dict()


def test_damaged_bytes_never_crash(tmp_path: Path) -> None:
    """400 recordings with bytes changed at random are read in part or said to be damaged."""
    rng = np.random.default_rng(3)
    whole = np.frombuffer(delimited(request(), request()), np.uint8)
    lengths, sentences = [], []
    for number in range(400):
        damaged = whole.copy()
        damaged[rng.integers(0, whole.size, 3)] = rng.integers(0, 256, 3)
        (tmp_path / "recorded").write_bytes(damaged.tobytes())
        try:
            lengths.append(len(traces.read(tmp_path / "recorded")))
        except AnalysisError as error:
            sentences.append(str(error))
        rest = traces.read(tmp_path / "recorded", skip_damaged=True)
        assert len(lengths) + len(sentences) == number + 1
        assert bool(rest.attrs) or len(rest) == lengths[-1]

    assert max(lengths) >= 4
    assert sentences
    assert not any("\n" in sentence for sentence in sentences)


def test_a_kernel_without_a_place_for_its_code_still_runs() -> None:
    """Where machine code cannot be kept (here: no source file), it is compiled for the process."""
    namespace: dict[str, Any] = {}
    exec("def double(x):\n    return 2 * x\n", namespace)  # noqa: S102 - a function without a file

    assert 14 == compiled(namespace["double"])(7)


@pytest.mark.parametrize("content", [b"\x05abc", b"\xff" * 12])
def test_bytes_that_are_no_recording_are_said(tmp_path: Path, content: bytes) -> None:
    """Nothing that could be a message: one sentence that names the formats."""
    (tmp_path / "x").write_bytes(content)

    with pytest.raises(AnalysisError, match="holds no traces in a known format"):
        traces.read(tmp_path / "x")
