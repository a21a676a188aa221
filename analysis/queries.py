"""Where does the load go? Database and cache calls per request, by operation and statement.

Logical queries count as queries; what a connection, a cursor or a cache costs is counted apart, by
``call``.

Answer: call (query, connect, fetch, cache), service, name, db_system, db_collection, statement,
calls, requests, per_request.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.errors import ColumnError
from analysis.forest import REPEAT, plant, to_rows
from analysis.identity import trace_codes
from analysis.traces import attribute

CACHES = ("redis", "memcached", "valkey", "keydb", "dragonfly", "hazelcast", "ehcache")
"""Database systems whose calls are cache calls."""
_CONNECT = "connect|begin|commit|rollback|reset|ping|discard|hello|auth|client setinfo|select db"
"""Operations of a connection or transaction: no question is put to the data."""
_FETCH = "fetch(?:one|all|many|row|val)?|cursor|close cursor"
_TEXTS = ("db.query.text", "db.statement", "db.query.summary")
"""Attributes that hold the statement, the fullest and newest first."""
_LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d+(?:\.\d+)?\b")
"""Values in a statement, left in by tracers that do not take them out: quoted texts and
numbers.
"""
_LIST = re.compile(r"\(\s*(?:\?|%s|\$\?)(?:\s*,\s*(?:\?|%s|\$\?))+\s*\)")
"""A list of placeholders, as in IN (?, ?, ?): its length makes no other statement of it."""
_KEYS = ["call", "service", "name", "db_system", "db_collection", "statement"]


def per_request(spans: pd.DataFrame, *, by: str | None = None) -> pd.DataFrame:
    """Count database and cache calls per request by operation and statement, most first.

    A request is a trace; ``requests`` is the number of all requests, also those without a call, so
    that ``per_request`` of several rows adds up. ``by="arm"`` counts each arm's calls over that
    arm's requests, with the arm as first column. Raises ``ColumnError`` for a table that is not
    spans.
    """
    if by is not None and by not in spans.columns:
        raise ColumnError(
            f"The spans table has no column {by}; split calls by a column it has, such as arm."
        )
    found, rows = calls(spans)
    if by:
        found.insert(0, by, spans[by].iloc[rows].array)
    keys = [by, *_KEYS] if by else _KEYS
    table = found.groupby(keys, dropna=False, as_index=False, observed=True).size()
    table = table.rename(columns={"size": "calls"})
    if by:
        table["requests"] = table[by].map(_requests_by(spans, by)).astype("int64")
    else:
        table["requests"] = trace_codes(spans["trace_id"])[1]
    table["per_request"] = table["calls"] / table["requests"]
    order = [*([by] if by else []), "calls", *_KEYS]
    ascending = [name != "calls" for name in order]
    return table.sort_values(order, ascending=ascending, ignore_index=True)


def calls(spans: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Give each database or cache call's kind, operation and statement, and its row in ``spans``.

    A call is a CLIENT span (or one of a kind not given) that names a database system; a span
    delivered twice is one call.
    """
    forest = plant(spans)
    chosen = to_rows(forest.parent, forest) != REPEAT
    chosen &= _text(spans, "db_system").notna().to_numpy()
    chosen &= ~_text(spans, "kind").isin(["SERVER", "CONSUMER", "PRODUCER"]).to_numpy()
    rows = np.flatnonzero(chosen)
    those = spans.iloc[rows].reset_index(drop=True)
    table = pd.DataFrame({name: _text(those, name) for name in _KEYS[1:-1]})
    table.insert(0, "call", _kinds(those))
    table["statement"] = statements(those)
    return table, rows


def statements(spans: pd.DataFrame) -> pd.Series:
    """Give each call's statement with its values taken out, the index as ``spans``.

    The query's text where it is known, else its summary, else operation and collection.
    """
    text = pd.Series(pd.NA, index=spans.index, dtype="str")
    if "attributes" in spans.columns:
        for key in _TEXTS:
            text = text.fillna(attribute(spans, key).astype("str"))
    short = _text(spans, "db_operation").str.cat(_text(spans, "db_collection"), sep=" ")
    text = text.fillna(short).fillna(_text(spans, "db_operation")).fillna(_text(spans, "name"))
    plain = {value: without_values(value) for value in text.dropna().unique()}
    return text.map(plain).astype("str")


def without_values(statement: str) -> str:
    """Put ``?`` for every literal, and one ``?`` for a list of them: repeats can be told then."""
    return _LIST.sub("(?)", _LITERAL.sub("?", " ".join(statement.split())))


def _kinds(spans: pd.DataFrame) -> pd.Series:
    """Tell each call's kind: cache by its system, connect and fetch by operation or name."""
    name = _text(spans, "name").fillna("").str.strip().str.lower()
    word = _text(spans, "db_operation").str.strip().str.lower().fillna(name)
    kind = pd.Series("query", index=spans.index, dtype="str")
    for found, pattern in (("connect", _CONNECT), ("fetch", _FETCH)):
        ends = name.str.contains(rf"(?:^|[.: ])(?:{pattern})$", regex=True)
        kind = kind.mask(word.str.fullmatch(pattern) | ends, found)
    return kind.mask(_text(spans, "db_system").str.lower().isin(CACHES), "cache")


def _text(spans: pd.DataFrame, name: str) -> pd.Series:
    """Give a column of text, missing throughout where the table has no such column."""
    if name in spans.columns:
        return spans[name].astype("str")
    return pd.Series(pd.NA, index=spans.index, dtype="str")


def _requests_by(spans: pd.DataFrame, by: str) -> pd.Series:
    """Count the traces of each group; a trace belongs to its first row's group."""
    codes, count = trace_codes(spans["trace_id"])
    first = np.full(count, -1, np.int64)
    first[codes[::-1]] = np.arange(codes.size)[::-1]
    return spans[by].iloc[first].value_counts(dropna=False)
