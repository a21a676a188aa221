import json
from collections.abc import Callable
from typing import Any

import orjson
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.formats import console_exporters, found, named_columns, zipkin_json
from analysis.formats.columns import to_pandas
from analysis.formats.jaeger import jaeger_documents, jaeger_json
from analysis.formats.otlp import otlp_json
from analysis.formats.reading import Reading
from analysis.formats.walked import read as walked
from benchmarks.support.json_traces import files

_READERS: dict[str, Any] = {
    "OTLP JSON": otlp_json,
    "OTLP JSON lines": otlp_json,
    "Tempo": otlp_json,
    "Jaeger": jaeger_json,
    "Jaeger's Elasticsearch documents": jaeger_documents,
    "Zipkin v2": zipkin_json,
    "ClickHouse JSONEachRow": named_columns,
    "Python's console exporter": console_exporters,
}
FILES = dict(files(3))


def _documents(content: bytes) -> list[Any]:
    decoder, text, found = json.JSONDecoder(), content.decode(), []
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


def _flat(documents: list[Any]) -> list[Any]:
    while documents and isinstance(documents[0], list):
        documents = [one for inner in documents for one in inner]
    return [one.get("_source", one) for one in documents]  # of Elasticsearch


def _by_reader(name: str, content: bytes) -> pd.DataFrame:
    """The spans as the reader sees them that looks at each value."""
    return _parsed(to_pandas(_READERS[name].table(_flat(_documents(content)))))


def _parsed(spans: pd.DataFrame) -> pd.DataFrame:
    for name in ("attributes", "links"):
        spans[name] = spans[name].map(json.loads, na_action="ignore")
    return spans


@pytest.mark.parametrize("name", FILES)
def test_the_walk_gives_what_a_look_at_each_value_gives(name: str) -> None:
    """Both ways of reading a format agree on every column."""
    table = walked.table(FILES[name])

    assert table is not None
    pd.testing.assert_frame_equal(_by_reader(name, FILES[name]), _parsed(to_pandas(table)))


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(['"', "\\", "\\u0041", "\n\t", "é\u2028/", "", "null", "true"]),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
_KEYS = st.sampled_from(
    ["db.system", "db.system.name", "db.type", "worthit.arm", "worthit.block", "cache.hit",
     "error", "span.kind", "otel.status_code", "otel.scope.name", "key", 'a"b', "é"]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(_KEYS, _VALUES), max_size=5, unique_by=lambda pair: pair[0]),
    st.fixed_dictionaries({"ensure_ascii": st.booleans(), "indent": st.sampled_from([None, 1])}),
    st.sampled_from(sorted({"OTLP JSON", "Jaeger", "Zipkin v2"})),
)
def test_any_attributes_are_read_alike(
    pairs: list[tuple[str, Any]], spelt: dict[str, Any], name: str
) -> None:
    """Values of every type, escaped, nested and promoted: the walk agrees or gives no answer."""
    document = orjson.loads(FILES[name])
    span = _first_span(document)
    if name == "OTLP JSON":
        span["attributes"] = [{"key": k, "value": _any_value(v)} for k, v in pairs]
    elif name == "Jaeger":
        span["tags"] = [{"key": k, "type": "string", "value": v} for k, v in pairs]
    else:
        span["tags"] = dict(pairs)
    content = json.dumps(document, **spelt).encode()

    table = walked.table(content)

    if table is not None:
        pd.testing.assert_frame_equal(_by_reader(name, content), _parsed(to_pandas(table)))


def _first_span(document: Any) -> Any:  # noqa: ANN401 - a list or an object
    while isinstance(document, list):
        document = document[0]
    for name in ("resourceSpans", "scopeSpans", "data", "spans"):
        if name in document:
            return _first_span(document[name])
    return document


def _any_value(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    for kind, name in ((bool, "boolValue"), (float, "doubleValue"), (str, "stringValue")):
        if isinstance(value, kind):
            return {name: value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_any_value(one) for one in value]}}
    if isinstance(value, dict):
        pairs = [{"key": key, "value": _any_value(one)} for key, one in value.items()]
        return {"kvlistValue": {"values": pairs}}
    return {"intValue": str(value)}


_DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda content: content[:-40],
    "a comma too many": lambda content: content.replace(b'"},{"', b'"},,{"', 1),
    "a comma too few": lambda content: content.replace(b'","', b'""', 1),
    "a word that is none": lambda content: content.replace(b"false", b"fales", 1),
    "a number that is none": lambda content: content.replace(b":0.25", b":00.25", 1),
    "an escape that is none": lambda content: content.replace(b"127.0", rb"127\x0", 1),
    "a control character": lambda content: content.replace(b"127.0", b"127\n0", 1),
    "half a character": lambda content: content.replace(b"127.0", b"127\xc30", 1),
    "half a surrogate": lambda content: content.replace(b"127.0", rb"127\ud800", 1),
    "another bracket": lambda content: content.rstrip()[:-1] + b")",
    "an object for a list": lambda content: content.replace(b"[", b"{", 1),
}


@pytest.mark.parametrize("damage", _DAMAGE)
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_json_gets_no_answer(name: str, damage: str) -> None:
    """Whatever is wrong with a text, the walk does not give a table of it."""
    damaged = _DAMAGE[damage](FILES[name])

    if damaged != FILES[name]:
        assert walked.table(damaged) is None


@pytest.mark.parametrize(
    "content",
    [
        b'{"resourceSpans": []}',
        b'[{"resourceSpans": [{}]}, {"resourceMetrics": [{}]}]',
        FILES["OTLP JSON lines"] + b'{"resourceMetrics": [{"scopeMetrics": []}]}\n',
        FILES["Zipkin v2"].replace(b'"localEndpoint"', b'"binaryAnnotations":[],"localEndpoint"'),
        FILES["Jaeger"].replace(b'"spanID"', b'"spamID"', 1),
        FILES["OTLP JSON"].replace(b'"server.address"', b'"server.port"', 1),
    ],
)
def test_what_is_unusual_is_left_to_the_other_readers(content: bytes) -> None:
    """Documents without spans, other signals, other versions and keys twice get no answer."""
    assert walked.table(content) is None


def test_usual_files_are_read_by_the_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``found`` gives of a usual file of some MiB is the walk's own table; no smaller one."""
    answer = walked.table(FILES["Jaeger"])
    monkeypatch.setattr(walked, "table", lambda _: answer)
    large = FILES["Jaeger"] + b" " * (4 << 20)

    assert found.table_of(large, "a.json", None, Reading()) is answer
    assert found.table_of(FILES["Jaeger"], "a.json", None, Reading()) is not answer
