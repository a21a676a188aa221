"""Which spans are queries, by the forms that instrumentations write."""

# ruff: noqa: E501 - a case a line reads best

from __future__ import annotations

from typing import Any

import orjson
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import queries
from analysis.calls.classify import is_query
from tests.support.traces.span_tables import spans


def _said(**attributes: object) -> str:
    return orjson.dumps(
        {key.replace("__", "."): value for key, value in attributes.items()}
    ).decode()


def _call(id: str, name: str, **given: Any) -> dict[str, Any]:  # noqa: A002, ANN401 - as in span_tables
    text = given.pop("text", None)
    if text is not None:
        given["attributes"] = _said(db__statement=text)
    return {"id": id, "name": name, "parent": "r", "kind": "CLIENT", "db": "postgresql",
            "start": int(id, 36) * 10, "takes": 5, **given}  # fmt: skip


def _kinds(*calls: dict[str, Any]) -> dict[str, int]:
    table = spans({"id": "r", "kind": "SERVER", "takes": 10_000}, *calls)
    return queries.per_request(table).groupby("call")["calls"].sum().to_dict()


FORMS = {
    "otelsql": ([
        ("sql.connector.connect", None), ("sql.conn.reset_session", None), ("sql.conn.ping", None),
        ("sql.conn.prepare", "SELECT a FROM t"), ("sql.conn.query", "SELECT a FROM t"),
        ("sql.stmt.exec", None), ("sql.rows", None), ("sql.conn.begin_tx", None),
        ("sql.tx.commit", None),
    ], {"connect": 1, "session reset": 1, "ping": 1, "prepare": 1, "query": 2, "fetch": 1,
        "transaction": 2}),
    "ocsql": ([("sql:begin_transaction", None), ("sql:prepare", "SELECT a FROM t"),
               ("sql:query", "SELECT a FROM t"), ("sql:rows_close", None), ("sql:commit", None)],
              {"transaction": 2, "prepare": 1, "query": 1, "fetch": 1}),
    "pgx": ([("connect", None), ("pool.acquire", None), ("prepare SELECT a FROM t", "SELECT a FROM t"),
             ("query SELECT a FROM t", "SELECT a FROM t"), ("batch query SELECT a", "SELECT a FROM t"),
             ("query BEGIN", "begin"), ("ping", "-- ping")],
            {"connect": 1, "pool wait": 1, "prepare": 1, "query": 2, "transaction": 1, "ping": 1}),
    "pg": ([("pg-pool.connect", None), ("pg.connect", None), ("pg.query:BEGIN shop", "BEGIN"),
            ("pg.query:SELECT shop", "SELECT a FROM t"), ("pg.query:COMMIT shop", None)],
           {"pool wait": 1, "connect": 1, "transaction": 2, "query": 1}),
    "asyncpg": ([("SELECT", "SELECT a FROM t"), ("BEGIN;", "BEGIN;"),
                 ("SELECT", "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;")],
                {"query": 1, "transaction": 1, "session reset": 1}),
    "sql of sessions": ([
        ("q", "/* app */ SAVEPOINT s1"), ("q", "RELEASE SAVEPOINT s1"), ("q", "SET search_path = x"),
        ("q", "SHOW server_version"), ("q", "DEALLOCATE ALL"), ("q", "XA START 'x'"),
        ("q", "FETCH FORWARD 10 FROM c"), ("q", "PREPARE p AS SELECT 1"), ("q", "DISCARD ALL"),
        ("q", "WITH x AS (SELECT 1) SELECT * FROM x"), ("q", "CALL p(1)"), ("q", "EXPLAIN SELECT 1"),
        ("q", "SELECT a FROM t FOR UPDATE"), ("q", "BEGIN; UPDATE t SET a = 1; COMMIT"),
        ("q", "START TRANSACTION READ ONLY"), ("q", "(SELECT a FROM t) UNION (SELECT a FROM u)"),
    ], {"transaction": 4, "setting": 3, "fetch": 1, "prepare": 1, "session reset": 1, "query": 6}),
    "datadog": ([("postgres.query", "SELECT a FROM t"), ("postgres.query.fetchall", "SELECT a FROM t"),
                 ("postgres.connection.commit", None)],
                {"query": 1, "fetch": 1, "transaction": 1}),
    "names alone": ([("SELECT users", None), ("SAVEPOINT shop", None), ("SET shop", None)],
                    {"query": 1, "transaction": 1, "setting": 1}),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_each_instrumentations_spans_are_told_apart(form: str) -> None:
    """What an instrumentation writes beside its queries is counted under its own name."""
    written, expected = FORMS[form]

    assert expected == _kinds(
        *(_call(f"{n + 1:x}", name, text=text) for n, (name, text) in enumerate(written))
    )


def test_database_calls_without_a_system_are_found() -> None:
    """Old conventions and layers that name no system are calls by their attributes or names."""
    found = _kinds(
        _call("1", "GET", db=None, attributes=_said(sql__query="SELECT a FROM t")),
        _call("2", "query", db=None, attributes=orjson.dumps({"jdbc.query[0]": "SELECT 1"}).decode()),
        _call("3", "prisma:engine:db_query", db=None, kind="INTERNAL"),
        _call("4", "prisma:client:serialize", db=None, kind="INTERNAL"),
        _call("5", "HikariDataSource.getConnection", db=None, kind="INTERNAL"),
        _call("6", "result-set", db=None, kind="INTERNAL"),
        _call("7", "GET /orders", db=None, attributes=_said(http__method="GET")),
        _call("8", "SELECT", db="sql", attributes=_said(db__instance="shop", db__statement="SELECT 2")),
    )  # fmt: skip

    assert {"query": 4, "pool wait": 1, "fetch": 1} == found


def test_a_name_that_is_a_statement_is_a_query_and_words_of_an_application_are_none() -> None:
    """Without any attribute the name decides, and must be SQL beyond doubt."""
    names = ["SELECT * FROM users", "select a from t where id = 5", "UPDATE t SET a = 1",
             "INSERT INTO t (a) VALUES (1)", "DELETE FROM t WHERE id = 1"]  # fmt: skip
    words = ["select from the menu", "update cart", "delete from cart", "insert into cart"]

    found = _kinds(
        *(_call(f"{n + 1:x}", name, db=None) for n, name in enumerate([*names, *words]))
    )

    assert {"query": len(names)} == found


def test_what_a_driver_asks_of_a_new_connection_is_no_query() -> None:
    """The version and settings below a connect belong to it; asked by a request, they count."""
    found = _kinds(
        _call("1", "connect", takes=50),
        _call("2", "select", parent="1", text="select pg_catalog.version()"),
        _call("9", "select", text="select pg_catalog.version()"),
    )

    assert {"connect": 1, "setting": 1, "query": 1} == found


def test_what_a_pool_asks_of_a_connection_is_a_ping() -> None:
    """SELECT 1 while a connection is waited for; asked elsewhere, somebody wrote it."""
    found = _kinds(
        _call("1", "HikariDataSource.getConnection", db=None, kind="INTERNAL", takes=50),
        _call("2", "SELECT", parent="1", text="SELECT 1"),
        _call("9", "SELECT", text="SELECT 1"),
        _call("a", "SELECT", text="/* ping */ SELECT 1 FROM dual", parent="1"),
    )

    assert {"pool wait": 1, "ping": 2, "query": 1} == found


TREES = {
    "prisma": ([("op", "prisma:client:operation", "r", None), ("e", "prisma:engine", "op", None),
                ("q", "prisma:engine:query", "e", None),
                ("c", "prisma:engine:connection", "q", None),
                ("d1", "prisma:engine:db_query", "q", "SELECT a FROM t"),
                ("d2", "prisma:engine:db_query", "q", "SELECT b FROM u"),
                ("s", "prisma:engine:serialize", "e", None)], {"query": 2, "pool wait": 1}),
    "pgx batch": ([("b", "batch start", "r", None),
                   ("q1", "batch query SELECT a", "b", "SELECT a FROM t"),
                   ("q2", "batch query SELECT b", "b", "SELECT b FROM t")], {"query": 2}),
    "couchbase": ([("g", "get", "r", None), ("x", "request_encoding", "g", None),
                   ("y", "dispatch_to_server", "g", None)], {"query": 1}),
    "EF Core": ([("e", "shop", "r", "SELECT a FROM t"), ("n", "postgresql", "e", "SELECT a FROM t"),
                 ("c", "CONNECT shop", "e", None)], {"query": 1, "connect": 1}),
    "knex": ([("k", "select items", "r", "select * from items where id = ?"),
              ("p", "pg-pool.connect", "k", None),
              ("q", "pg.query:SELECT shop", "k", "select * from items where id = $1")],
             {"query": 1, "pool wait": 1}),
}  # fmt: skip


@pytest.mark.parametrize("tree", TREES)
def test_spans_within_spans_of_one_library_are_the_queries_that_it_made(tree: str) -> None:
    """An engine, a batch or an ORM around its statements is no query more."""
    told, expected = TREES[tree]
    about = {"start": 1, "takes": 50, "kind": "CLIENT"}
    table = spans(
        {"id": "r", "kind": "SERVER", "takes": 1000},
        *(
            {"id": one, "name": name, "parent": parent, **about,
             "db": None if "prisma" in name else "postgresql",
             "attributes": None if text is None else _said(db__statement=text)}
            for one, name, parent, text in told
        ),
    )  # fmt: skip

    assert expected == queries.per_request(table).groupby("call")["calls"].sum().to_dict()


def test_an_empty_statement_asks_nothing() -> None:
    """A pool of pgjdbc's connections asks whether one lives by an empty statement.

    A call whose statement was not recorded at all, or whose operation is known, is a query.
    """
    empty = {"attributes": '{"db.name":"shop","db.statement":null}'}

    assert {"ping": 1, "query": 2} == _kinds(
        _call("1", "shop", **empty),
        _call("2", "shop", attributes='{"db.name":"shop"}'),
        _call("3", "SELECT shop", operation="SELECT", **empty),
    )


def test_what_a_caches_client_does_by_itself_is_apart() -> None:
    """A cache's commands are cache calls, its greeting and ping are not."""
    found = _kinds(
        *(_call(f"{n + 1:x}", name, db=db, text=text) for n, (name, db, text) in enumerate([
            ("GET", "redis", "GET user:1"), ("SET", "valkey", None), ("get", "memcached", None),
            ("MGET", "redis", None), ("HELLO", "redis", None), ("CLIENT", "redis", "CLIENT SETINFO a b"),
            ("PING", "redis", "PING"), ("redis-connect", "redis", None), ("MULTI", "redis", "MULTI"),
        ]))
    )  # fmt: skip

    assert {"cache": 4, "connect": 3, "ping": 1, "transaction": 1} == found


def test_a_result_from_an_orms_query_cache_is_no_query() -> None:
    """Rails marks such a span; the database was not asked."""
    found = _kinds(
        _call("1", "User Load", attributes=_said(db__statement="SELECT a FROM t", cached=True)),
        _call("2", "User Load", attributes=_said(db__statement="SELECT a FROM t", cached=False)),
    )

    assert {"orm cache": 1, "query": 1} == found


def test_a_wrapper_counts_as_the_queries_below_it() -> None:
    """Several different ones are several; without any below, the wrapper is the query."""
    orm = {"kind": "INTERNAL", "db": "sqlalchemy", "takes": 300, "start": 0}
    found = _kinds(
        _call("1", "orm.load", **orm),
        _call("2", "between", parent="1", kind="INTERNAL", db=None),
        _call("3", "SELECT", parent="2", text="SELECT a FROM t"),
        _call("4", "SELECT", parent="1", text="SELECT b FROM u"),
        _call("5", "orm.save", **orm),
        _call("6", "connect", parent="5"),
        _call("7", "COMMIT", parent="5", text="COMMIT"),
    )

    assert {"query": 3, "connect": 1, "transaction": 1} == found


def test_calls_that_leaked_context_or_another_process_made_are_their_own() -> None:
    """Begun after the span above had ended, or in another service: not what that span wraps."""
    found = _kinds(
        _call("1", "SELECT", text="SELECT a FROM t"),
        _call("9", "INSERT", parent="1", text="INSERT INTO t VALUES (1)"),
        _call("a", "SELECT", takes=90, text="SELECT b FROM t"),
        _call("b", "SELECT", parent="a", service="other", text="SELECT b FROM t"),
    )

    assert {"query": 4} == found


def test_parallel_calls_of_one_instrumentation_are_two() -> None:
    """One inside the other in time is one call only where two instrumentations wrote it."""
    one, other = ({"start": 10, "takes": 20}, {"start": 12, "takes": 9})
    text = "SELECT a FROM t WHERE id = $1"

    assert {"query": 2} == _kinds(
        _call("1", "q", text=text, **one), _call("2", "q", text=text, **other)
    )
    assert {"query": 1} == _kinds(
        _call("1", "q", text=text, **one), _call("2", "r", text=text, **other)
    )


def test_an_orms_call_beside_the_drivers_is_the_same_call() -> None:
    """An ORM tells a collection and no text; of two at once each has its own driver's call."""
    orm = {"db": "mongoose", "operation": "findOne", "collection": "users", "takes": 20}
    driver = {"db": "mongodb", "operation": "find", "collection": "users", "takes": 5,
              "text": '{"_id":"?"}'}  # fmt: skip

    assert {"query": 1} == _kinds(
        _call("1", "mongoose.User.findOne", start=10, **orm),
        _call("2", "mongodb.find", start=12, **driver),
    )
    assert {"query": 2} == _kinds(
        _call("1", "mongoose.User.findOne", start=10, **orm),
        _call("2", "mongoose.User.findOne", start=11, **orm),
        _call("3", "mongodb.find", start=12, **driver),
        _call("4", "mongodb.find", start=13, **driver),
    )


@pytest.mark.parametrize(
    "differently", [{"collection": "carts"}, {"db": "postgresql"}, {"start": 40}, {"service": "b"}]
)
def test_an_orms_call_is_not_one_beside_it_to_something_else(differently: dict[str, Any]) -> None:
    """Another collection, system, time or service is another call."""
    found = _kinds(
        _call("1", "q", db="mongoose", collection="users", start=10, takes=20),
        _call("2", "q", **{"db": "mongodb", "collection": "users", "start": 12, **differently}),
    )

    assert {"query": 2} == found


_STATEMENTS = ("SELECT a FROM t WHERE id = 1", "SELECT a FROM t WHERE id = 2", "UPDATE t SET a = 'x'",
               "BEGIN", "COMMIT", "INSERT INTO t VALUES (1, 2)")  # fmt: skip
_OTHER_SPELLINGS = {"postgresql": "postgres", "mysql": "mariadb", "mongodb": "mongoose",
                    "microsoft.sql_server": "mssql"}  # fmt: skip


def _counted(table: pd.DataFrame) -> tuple[float, dict[str, int]]:
    found = queries.per_request(table)
    asked = found[found["call"] == "query"]
    return is_query(table).sum(), asked.groupby("statement")["calls"].sum().to_dict()


@settings(deadline=None, max_examples=60)
@given(
    asked=st.lists(st.sampled_from(_STATEMENTS), max_size=6),
    system=st.sampled_from(sorted(_OTHER_SPELLINGS)),
    how=st.sampled_from(
        ["wrapped", "wrapped twice", "beside", "respelt", "no text above", "twice"]
    ),
)
def test_another_instrumentation_changes_no_count(asked: list[str], system: str, how: str) -> None:
    """Every call doubled, wrapped, re-spelt or delivered twice gives the same queries."""
    if how in (
        "wrapped twice",
        "no text above",
    ):  # without a text, nothing says that it is no query
        asked = [text for text in asked if text not in ("BEGIN", "COMMIT")]
    root = {"id": "r", "kind": "SERVER", "takes": 1000}
    plain, doubled = [], []
    for n, text in enumerate(asked):
        at = {"start": n * 20, "takes": 10, "db": system}
        inner = _call(f"{n + 1}", "driver", text=text, **at)
        plain.append(inner)
        spelling = _OTHER_SPELLINGS[system]
        around = {"start": n * 20 - 1, "takes": 12, "db": spelling}
        outer = _call(f"{n + 100}", "orm", text=None if how == "no text above" else text, **around)
        below = (
            inner if how in ("beside", "respelt", "twice") else {**inner, "parent": outer["id"]}
        )
        if how == "respelt":
            doubled.append({**inner, "db": spelling})
            continue
        doubled += [below, below] if how == "twice" else [outer, below]
        if how == "wrapped twice":
            above = {"start": n * 20 - 2, "takes": 14, "db": "sequelize", "kind": "INTERNAL"}
            doubled[-2] = {**outer, "parent": f"{n + 200}"}
            doubled.append(_call(f"{n + 200}", "model.find", **above))

    assert _counted(spans(root, *plain)) == _counted(spans(root, *doubled))
