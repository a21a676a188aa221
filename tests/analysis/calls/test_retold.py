"""One trace told in several ways: what instrumentation adds changes no query and no share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis import queries, shares, traces

Span = dict[str, Any]
BEGAN_NS = 1_800_000_000_000_000_000
TRACE = "00c0ffee00c0ffee000beef0000beef0"
SPELLINGS = {"postgresql": "postgres", "mysql": "mariadb", "mongodb": "mongoose",
             "microsoft.sql_server": "mssql", "redis": "ioredis"}  # fmt: skip
LAYERS = {"postgresql": "sequelize", "mysql": "typeorm", "mongodb": "mongoose",
          "microsoft.sql_server": "knex"}  # fmt: skip
SQL = (("SELECT", "SELECT name FROM items WHERE id = 7"),
       ("SELECT", "SELECT a FROM t WHERE id IN (1, 2)"),
       ("UPDATE", "UPDATE items SET name = 'x'"),
       ("INSERT", "INSERT INTO items VALUES (1, 'a')"))  # fmt: skip
ENDS = (("BEGIN", "BEGIN"), ("COMMIT", "COMMIT"))
FINDS = (("find", '{"find":"items","filter":{"_id":3}}'), ("insert", '{"insert":"items"}'))
GETS = (("GET", "GET item:3"), ("SET", "SET item:4 x"))
OPERATIONS = {"find": "findOne", "insert": "save"}
"""What mongoose calls the same."""


@st.composite
def _requests(draw: st.DrawFn, *, ends: bool = True) -> list[Span]:
    """A request of some stages, each with calls one after the other, or two at once."""
    number = count(1)
    spans: list[Span] = [_span(next(number), "POST /orders", parent=None, kind="SERVER", start=0)]
    now = 10
    for _ in range(draw(st.integers(1, 3))):
        stage = _span(next(number), "stage", parent=spans[0]["id"], start=now)
        spans.append(stage)
        for _ in range(draw(st.integers(0, 3))):
            now += draw(st.integers(1, 5)) * 10
            system = draw(st.sampled_from(sorted(SPELLINGS)))
            of = {"mongodb": FINDS, "redis": GETS}.get(system, SQL + ENDS if ends else SQL)
            told, takes = draw(st.sampled_from(of)), draw(st.integers(1, 5)) * 10
            spans += [
                _call(
                    next(number), system, told,
                    parent=stage["id"], start=now + at, end=now + at + takes,
                )
                for at in range(draw(st.integers(1, 2)))
            ]  # fmt: skip
            now += takes + 2
        stage["end"] = now = now + 10
    spans[0]["end"] = now + 10
    return spans


def _span(number: int, name: str, **about: Any) -> Span:  # noqa: ANN401 - of every kind
    of_app = {"kind": "INTERNAL", "scope": "app", "attributes": {}}
    return {"id": f"{number:016x}", "name": name, **of_app, **about}


def _call(number: int, system: str, told: tuple[str, str], **about: Any) -> Span:  # noqa: ANN401 - as above
    attributes = {"db.system.name": system, "db.operation.name": told[0], "db.query.text": told[1]}
    table = {} if system == "redis" else {"db.collection.name": "items"}
    named = {"kind": "CLIENT", "scope": f"driver.{system}", "attributes": attributes | table}
    return _span(number, f"{system} {told[0]}", **named, **about)


def _calls(spans: list[Span], *, layer: bool) -> Iterator[Span]:
    """The calls that another instrumentation tells of too; no ORM is above a cache."""
    for span in spans:
        system = span["attributes"].get("db.system.name")
        if system is not None and (system != "redis" or not layer):
            yield span


def _outer(call: Span, *, layer: bool, text: bool = True, by: int = 0xA000) -> Span:
    """Another instrumentation's span for the same call."""
    about = dict(call["attributes"])
    system = about["db.system.name"]
    about["db.system.name"] = (LAYERS if layer else SPELLINGS).get(system, system)
    if not text:
        del about["db.query.text"]
        about["db.operation.name"] = OPERATIONS.get(about["db.operation.name"], "query")
    scope = f"@opentelemetry/instrumentation-{about['db.system.name']}" if layer else "other"
    number = f"{int(call['id'], 16) + by:016x}"
    named = {"id": number, "name": f"another {call['name']}", "scope": scope}
    return {**call, **named, "attributes": about}


def _around(spans: list[Span], *, layer: bool, text: bool = True, by: int = 0xA000) -> list[Span]:
    told = {
        call["id"]: _outer(call, layer=layer, text=text, by=by)
        for call in _calls(spans, layer=layer)
    }
    above, outer = {inner: one["id"] for inner, one in told.items()}, told.values()
    return [*({**one, "parent": above.get(one["id"], one["parent"])} for one in spans), *outer]


def _beside(spans: list[Span], *, layer: bool, text: bool = True) -> list[Span]:
    return [*spans, *(_outer(call, layer=layer, text=text) for call in _calls(spans, layer=layer))]


def _respelt(spans: list[Span]) -> list[Span]:
    return [
        {**one, "attributes": {**one["attributes"], "db.system.name": SPELLINGS[system]}}
        if (system := one["attributes"].get("db.system.name"))
        else one
        for one in spans
    ]


def _in_old_names(spans: list[Span]) -> list[Span]:
    old = {"db.system.name": "db.system", "db.operation.name": "db.operation",
           "db.query.text": "db.statement", "db.collection.name": "db.sql.table"}  # fmt: skip
    return [
        {**one, "attributes": {old[key]: value for key, value in one["attributes"].items()}}
        for one in spans
    ]


def _traced_as(spelling: Callable[[str], str]) -> Callable[[list[Span]], list[Span]]:
    """Every second span has its trace's id written otherwise."""
    return lambda spans: [
        {**one, "trace": spelling(TRACE)} if place % 2 else one for place, one in enumerate(spans)
    ]


def _with_ids(spelling: Callable[[str], str]) -> Callable[[list[Span]], list[Span]]:
    """Spans name their parents otherwise than these name themselves."""
    return lambda spans: [
        {**one, "parent": one["parent"] and spelling(one["parent"])} for one in spans
    ]


RETOLD: dict[str, Callable[[list[Span]], list[Span]]] = {
    "a client around a client": lambda spans: _around(spans, layer=False),
    "an ORM around": lambda spans: _around(spans, layer=True),
    "an ORM around, which has no text": lambda spans: _around(spans, layer=True, text=False),
    "two around": lambda spans: _around(
        _around(spans, layer=True), layer=False, by=0xB00000
    ),
    "another client beside": lambda spans: _beside(spans, layer=False),
    "an ORM beside": lambda spans: _beside(spans, layer=True),
    "an ORM beside, which has no text": lambda spans: _beside(spans, layer=True, text=False),
    "respelt": _respelt,
    "older names": _in_old_names,
    "older names, an ORM around": lambda spans: _in_old_names(_around(spans, layer=True)),
    "delivered twice": lambda spans: [*spans, *spans[::-1]],
    "trace ids in capitals": _traced_as(str.upper),
    "trace ids without zeros": _traced_as(lambda one: one.lstrip("0")),
    "trace ids of 64 bits": _traced_as(lambda one: one[16:]),
    "trace ids of 64 bits without zeros": _traced_as(lambda one: one[16:].lstrip("0")),
    "span ids in capitals": _with_ids(str.upper),
    "span ids without zeros": _with_ids(lambda one: one.lstrip("0")),
}  # fmt: skip
WITHOUT_TEXT = ("an ORM around, which has no text", "an ORM beside, which has no text")
"""An ORM's nameless span around a BEGIN does not say that it is no query."""


def _read(spans: list[Span], file: Path) -> pd.DataFrame:
    def text(key: str, value: str) -> dict[str, Any]:
        return {"key": key, "value": {"stringValue": value}}

    scopes = [
        {
            "scope": {"name": one["scope"]},
            "spans": [
                {
                    "traceId": one.get("trace", TRACE), "spanId": one["id"],
                    "parentSpanId": one["parent"] or "", "name": one["name"],
                    "kind": f"SPAN_KIND_{one['kind']}",
                    "startTimeUnixNano": str(BEGAN_NS + one["start"] * 1000),
                    "endTimeUnixNano": str(BEGAN_NS + one["end"] * 1000),
                    "attributes": [text(*pair) for pair in one["attributes"].items()],
                }
            ],
        }
        for one in spans
    ]  # fmt: skip
    resource = {"attributes": [text("service.name", "shop")]}
    file.write_bytes(
        orjson.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]})
    )
    return traces.read(file)


def _counted(table: pd.DataFrame) -> dict[tuple[str, ...], int]:
    """Calls by what they are, and of queries by statement."""
    found = queries.per_request(table)
    found = found.assign(statement=found["statement"].where(found["call"] == "query", ""))
    return {
        (str(call), str(text)): int(rows["calls"].sum())
        for (call, text), rows in found.groupby(["call", "statement"])
        if call in ("query", "cache")
    }


def _shared(table: pd.DataFrame) -> dict[str, float]:
    """Shares by name, all of databases and caches together."""
    found = shares.request_shares(table)
    names = found["name"].where(found["name"].isin(["POST /orders", "stage"]), "calls")
    return {name: round(share, 9) for name, share in found.groupby(names)["share"].sum().items()}


@settings(deadline=None, max_examples=6, suppress_health_check=list(HealthCheck))
@given(data=st.data())
@pytest.mark.parametrize("how", RETOLD)
def test_a_trace_told_in_another_way_has_the_same_queries_and_shares(
    tmp_path: Path, how: str, data: st.DataObject
) -> None:
    """Doubled, wrapped, respelt, or with its ids shortened: the requests did the same."""
    spans = data.draw(_requests(ends=how not in WITHOUT_TEXT))

    plain, retold = (_read(told, tmp_path / "x") for told in (spans, RETOLD[how](spans)))

    assert _counted(plain) == _counted(retold)
    assert _shared(plain) == _shared(retold)
    assert 1 == retold["trace_id"].nunique()
