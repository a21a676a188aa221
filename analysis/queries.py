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

from analysis.calltree import sampling
from analysis.calltree.call_tree import CallTrees, build_trees, to_rows
from analysis.calltree.groups import of_requests
from analysis.kernels.codes import CLIENT, CONSUMER, PRODUCER, REPEAT, SERVER
from analysis.traces import attribute

CACHES = ("redis", "memcached", "valkey", "keydb", "dragonfly", "hazelcast", "ehcache")
"""Database systems whose calls are cache calls."""
_CONNECT = "connect|begin|commit|rollback|reset|ping|discard|hello|auth|client setinfo|select db"
"""Operations of a connection or transaction: no question is put to the data."""
_FETCH = "fetch(?:one|all|many|row|val)?|cursor|close cursor"
_DATA = "select|insert|update|delete|merge|replace|upsert|with|call|copy|table|values"
"""Words that a name begins with when the rest of it names the data, not what is done."""
_TEXTS = ("db.query.text", "db.statement", "db.query.summary")
"""Attributes that hold the statement, the fullest and newest first."""
_LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d+(?:\.\d+)?\b")
"""Values in a statement, left in by tracers that do not take them out: quoted texts and
numbers.
"""
_LIST = re.compile(r"\(\s*(?:\?|%s|\$\?)(?:\s*,\s*(?:\?|%s|\$\?))+\s*\)")
"""A list of placeholders, as in IN (?, ?, ?): its length makes no other statement of it."""
_KEYS = ["call", "service", "name", "db_system", "db_collection", "statement"]
_COUNTS = ["calls", "requests", "per_request"]


def per_request(spans: pd.DataFrame, *, by: str | None = None) -> pd.DataFrame:
    """Count database and cache calls per request by operation and statement, most first.

    A request is a trace; ``requests`` is the number of all requests, also those without a call, so
    that ``per_request`` of several rows adds up. ``by="arm"`` counts each arm's calls over that
    arm's requests, with the arm as first column; a request is of its earliest span's arm, whoever
    makes the call. Raises ``ColumnError`` for a table that is not spans, and for a ``by`` that it
    lacks or that the answer holds already.
    """
    call_trees = build_trees(spans)
    found, rows = calls(spans)
    count = call_trees.begins.size - 1
    weights = sampling.of_traces(spans, call_trees.order[call_trees.begins[:-1]])
    found["requests"] = count if weights is None else weights.sum()
    trace = np.empty(len(spans), np.int64)
    trace[call_trees.order] = np.repeat(np.arange(count), np.diff(call_trees.begins))
    found["calls"] = 1 if weights is None else weights[trace[rows]]
    if by is not None:
        group = of_requests(spans, call_trees, by, (*_KEYS, *_COUNTS))
        which, _ = pd.factorize(group, use_na_sentinel=False)
        found.insert(0, by, group.iloc[trace[rows]].array)
        found["requests"] = np.bincount(which, weights, minlength=1)[which[trace[rows]]]
    keys = [*([by] if by else []), *_KEYS]
    groups = found.groupby([*keys, "requests"], dropna=False, as_index=False, observed=True)
    table: pd.DataFrame = groups[["calls"]].sum()
    table["per_request"] = table["calls"] / table["requests"]
    if weights is not None:  # estimates of how many there were
        table = table.assign(**{name: table[name].round().astype("int64") for name in _COUNTS[:2]})
    order = [*([by] if by else []), "calls", *_KEYS]
    ascending = [name != "calls" for name in order]
    table = table.sort_values(order, ascending=ascending, ignore_index=True)
    return table[[*keys, *_COUNTS]]


def calls(spans: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Give each database or cache call's kind, operation and statement, and its row in ``spans``.

    A call is a CLIENT span that names a database system. So is an INTERNAL one, or one of a kind
    not given, unless a span directly below it names the same system: then it wraps the call, as
    an ORM does, and the one below is counted. A span delivered twice is one call.
    """
    call_trees = build_trees(spans)
    rows = np.flatnonzero(to_rows(_is_call(spans, call_trees), call_trees))
    those = spans.iloc[rows].reset_index(drop=True)
    table = pd.DataFrame({name: _text(those, name) for name in _KEYS[1:-1]})
    table.insert(0, "call", _kinds(those))
    table["statement"] = statements(those)
    return table, rows


def _is_call(spans: pd.DataFrame, call_trees: CallTrees) -> NDArray[np.bool_]:
    """By position of the call trees, whether a span is a call to a database or cache."""
    system, _ = pd.factorize(_text(spans, "db_system"))
    system = system[call_trees.order]
    chosen: NDArray[np.bool_] = (system >= 0) & (call_trees.parent != REPEAT)
    chosen &= ~np.isin(call_trees.kind, (SERVER, CONSUMER, PRODUCER))
    inner = np.flatnonzero(chosen & (call_trees.parent >= 0))
    above = call_trees.parent[inner]
    wrappers = above[system[above] == system[inner]]
    chosen[wrappers[call_trees.kind[wrappers] != CLIENT]] = False
    return chosen


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
    """Tell each call's kind: cache by its system, connect and fetch by what is done.

    What is done is the operation; where none is given, the name, or how it ends: ``pool.connect``,
    ``db reset``, but not ``SELECT auth``, where it ends with what is read.
    """
    name = _text(spans, "name").fillna("").str.strip().str.lower()
    word = _text(spans, "db_operation").str.strip().str.lower()
    of_data = name.str.contains(rf"^(?:{_DATA})\b", regex=True)
    kind = pd.Series("query", index=spans.index, dtype="str")
    for found, pattern in (("connect", _CONNECT), ("fetch", _FETCH)):
        whole, end = rf"^(?:{pattern})$", rf"[.: ](?:{pattern})$"
        named = name.str.contains(whole, regex=True)
        named |= name.str.contains(end, regex=True) & ~of_data
        done = word.str.contains(whole, regex=True).where(word.notna(), named)
        kind = kind.mask(done, found)
    return kind.mask(_text(spans, "db_system").str.lower().isin(CACHES), "cache")


def _text(spans: pd.DataFrame, name: str) -> pd.Series:
    """Give a column of text, missing throughout where the table has no such column."""
    if name in spans.columns:
        return spans[name].astype("str")
    return pd.Series(pd.NA, index=spans.index, dtype="str")
