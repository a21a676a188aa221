"""Which texts are one statement, and which stay apart."""

# ruff: noqa: E501 - a case a line reads best

from __future__ import annotations

import re

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from analysis.calls import statements
from analysis.calls.statements import Dialect, dialect_of, folded, normal_form, of_texts

SAME = {
    "numbers": ("", ["SELECT a FROM t WHERE b = 17", "SELECT a FROM t WHERE b = -1.5e3",
                     "SELECT a FROM t WHERE b = 0x1F"]),
    "strings": ("postgresql", ["SELECT a FROM t WHERE b = 'k'", "SELECT a FROM t WHERE b = 'O''H'",
                               "SELECT a FROM t WHERE b = E'it\\'s'",
                               "SELECT a FROM t WHERE b = N'x'", "SELECT a FROM t WHERE b = $$x'y$$",
                               "SELECT a FROM t WHERE b = $q$it's$q$",
                               "SELECT a FROM t WHERE b = 'cut off"]),
    "mysql strings": ("mariadb", ['SELECT a FROM t WHERE b = "k"', "SELECT a FROM t WHERE b = 'it\\'s'",
                                  'SELECT a FROM t WHERE b = "it\'s" # what\'s due']),
    "words": ("postgresql", ["UPDATE t SET a = NULL", "UPDATE t SET a = TRUE", "update t set a=5",
                             "UPDATE t SET a = DATE '2026-01-01'"]),
    "placeholders": ("", ["DELETE FROM t WHERE a IN (?, ?)", "DELETE FROM t WHERE a IN (%s)",
                          "DELETE FROM t WHERE a IN (%(a_1)s, %(a_2)s)",
                          "DELETE FROM t WHERE a IN (:a_1)", "DELETE FROM t WHERE a IN (@p0, @p1)",
                          "DELETE FROM t WHERE a IN ($1)", "DELETE FROM t WHERE a IN ({a})",
                          "DELETE FROM t WHERE a IN (1, 2, 3, 4", "DELETE FROM t WHERE a IN (1, ..."]),
    "rows": ("postgresql", ["INSERT INTO t (a, b) VALUES (1, 'x')",
                            "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4), ($5, $6)"]),
    "rows with calls": ("", ["INSERT INTO t VALUES (1, NOW())",
                             "INSERT INTO t VALUES (1, now()), (2, NOW())"]),
    "casts": ("postgresql", ["SELECT a FROM t WHERE b = $1", "SELECT a FROM t WHERE b = $1::INTEGER",
                             "SELECT a FROM t WHERE b = '5'::varchar(3)",
                             "SELECT a FROM t WHERE b = CAST('5' AS int)",
                             "SELECT a FROM t WHERE b = '2026'::timestamp with time zone"]),
    "arrays": ("postgresql", ["SELECT a FROM t WHERE b = ANY(ARRAY[1, 2])",
                              "SELECT a FROM t WHERE b = ANY (ARRAY[$1])"]),
    "comments": ("", ["SELECT a FROM t", "/* what's due */ SELECT a FROM t", "-- it's\nSELECT a FROM t",
                      "SELECT a\n\tFROM t /*traceparent='00-1-1-01'*/", "SELECT a FROM t -- trace:1",
                      "SELECT a FROM t;"]),
    "savepoints": ("", ["SAVEPOINT sa_1", "savepoint sa_22"]),
    "documents": ("mongodb", ['{"find":"orders","filter":{"_id":"64f0"}}',
                              '{"find": "orders", "filter": {"_id": 12}, "lsid": {"id": "x"}}']),
    "lists of documents": ("mongodb", ['{"insert":"o","documents":[{"a":1}]}',
                                       '{"insert":"o","documents":[{"a":"x"},{"a":null}]}']),
    "keys": ("redis", ["GET user:1", "get user:30", "GET user:0af81c2e-1111-4222-8333-444455556666",
                       "GET user:deadbeef01"]),
    "arguments": ("valkey", ["SET a:1 hello", "SET a:2 x EX 5"]),
}  # fmt: skip
APART = [
    ("postgresql", ['SELECT "a" FROM t', 'SELECT "b" FROM t', "SELECT a FROM t", "SELECT a FROM u",
                    "SELECT a FROM t WHERE b = 1", "SELECT a FROM t WHERE b > 1",
                    "SELECT a FROM t WHERE b IS NULL", "SELECT a FROM t WHERE b IS NOT NULL",
                    "SELECT a1 FROM t", "SELECT a2 FROM t"]),
    ("", ["-- what's due\nSELECT a FROM t WHERE x = 'k'", "-- what's due\nDELETE FROM u WHERE y = 'k'",
          "-- what's due\nUPDATE v SET z = 'k'"]),
    ("mongodb", ['{"find":"a"}', '{"find":"b"}', '{"find":"a","filter":{"x":1}}',
                 '[{"$match":{"a":"$b"}}]', '[{"$match":{"a":"$c"}}]']),
    ("redis", ["GET user:1", "GET cart:1", "DEL user:1", "EXISTS user:1"]),
]  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_texts_that_differ_in_values_are_one_statement(name: str) -> None:
    """Literals, lists, placeholders, casts, comments, white space and case make no difference."""
    system, texts = SAME[name]

    assert 1 == of_texts(pd.Series(texts, dtype="str"), system).nunique()


@pytest.mark.parametrize(("system", "texts"), APART)
def test_other_columns_tables_and_operators_are_other_statements(
    system: str, texts: list[str]
) -> None:
    """What the database is asked for stays apart; so does what stands behind one comment."""
    assert len(texts) == of_texts(pd.Series(texts, dtype="str"), system).nunique()


_PIECES = st.sampled_from(
    ["SELECT", "a", "t.b", "FROM", "WHERE", "IN", "(", ")", ",", "=", "-", "'", "''", "'x y'", "\\",
     '"', '"q 1"', "`", "--", "#", "\n", "/*", "*/", "$$", "$1", "$q$", "?", "%s", ":a", "::int",
     "1", "2.5", "0x1F", "1.2.3", "1e5", "(1, 2)", "('x')", "VALUES", "NULL", "E'\\''", "N'x'",
     "é", ";", "@p1", "{a}", ".", "[", "]", "42", "x9", "(?)", "+"]
)  # fmt: skip
_TEXTS = st.lists(st.tuples(_PIECES, st.sampled_from(["", " "])), max_size=14).map(
    lambda pieces: "".join(piece + gap for piece, gap in pieces)
)
_SYSTEMS = st.sampled_from(["postgresql", "mysql", "", "clickhouse"])


@settings(deadline=None, derandomize=True)  # what is not SQL at all is folded once too often
@given(text=_TEXTS, system=_SYSTEMS)
@example(text='"\\"SELECT"', system="postgresql")
def test_folding_first_changes_no_normal_form(text: str, system: str) -> None:
    """The lexer finds the same in what Arrow folded as in the text itself, however broken.

    But for a dollar quote that touches a word or another, which no server reads, and for MySQL's
    two signs before a quote (``1--'2'``), which nobody writes.
    """
    assume(not re.search(r"[\w$]\$q\$|\$q\$[\w$]|--['\"]", text))
    dialect: Dialect = dialect_of(system)
    once = folded(pa.array([text], pa.large_string()), dialect)[0].as_py()

    assert normal_form(text, dialect) == normal_form(once, dialect)


@given(
    values=st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=5), name=st.text("ab'\\ -")
)
def test_values_of_any_kind_give_one_statement(values: list[int], name: str) -> None:
    """A list's length and what a quoted text holds make no other statement."""
    quoted = "'" + name.replace("'", "''") + "'"
    text = f"SELECT a FROM t WHERE b IN ({', '.join(map(str, values))}) AND c = {quoted}"  # noqa: S608 - nothing runs it
    found = of_texts(pd.Series([text], dtype="str"), "postgresql")

    assert ["SELECT a FROM t WHERE b IN (?) AND c = ?"] == found.tolist()


@given(numbers=st.lists(st.integers(0, 10**6), min_size=1, max_size=4))
def test_folded_json_has_the_same_form(numbers: list[int]) -> None:
    """Documents that differ in values alone are one statement, folded first or not."""
    text = '{"find":"o","filter":{"a":{"$in":' + str(numbers) + '},"b":"x"}}'

    assert {'{"find":"o","filter":{"a":{"$in":[?]},"b":?}}'} == {
        statements.json_form(text), of_texts(pd.Series([text], dtype="str"), "mongodb")[0]
    }  # fmt: skip
    assert re.fullmatch(r"[^0-9]*", statements.json_form(text))


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT * FROM t WHERE id = 17", "SELECT * FROM t WHERE id = ?"),
        ("SELECT  a\n FROM t WHERE n = 'O''Hara'", "SELECT a FROM t WHERE n = ?"),
        ("SELECT a FROM t WHERE id IN (1, 2, 3)", "SELECT a FROM t WHERE id IN (?)"),
        ("SELECT a FROM t WHERE id IN ($1, $2)", "SELECT a FROM t WHERE id IN (?)"),
        ("SELECT col1 FROM t2", "SELECT col1 FROM t2"),
        (
            "select u.name, Value as count from user u order by level desc nulls first",
            "SELECT u.name, Value AS count FROM user u ORDER BY level DESC NULLS FIRST",
        ),
        ("select count(*), lower(name) from t", "SELECT COUNT(*), LOWER(name) FROM t"),
        (
            "insert into user (name, key) values (1, 2) on duplicate key update key = 3",
            "INSERT INTO user (name, key) VALUES (?) ON DUPLICATE KEY UPDATE key = ?",
        ),
        (
            "begin read only; update t set date = date '2026-01-01'; commit",
            "BEGIN READ ONLY; UPDATE t SET date = ?; COMMIT",
        ),
    ],
)
def test_statements_that_differ_in_values_are_one(statement: str, expected: str) -> None:
    """Values are taken out; names stay as written, also those that are keywords elsewhere."""
    assert [expected] == of_texts(pd.Series([statement], dtype="str")).tolist()
