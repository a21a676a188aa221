"""Where does the load go? Database and cache calls per request, by the operation and statement that make them.

Logical queries count as queries; what a connection, a cursor or a cache costs is counted apart, by ``call``.

Answer: call (query, connect, fetch, cache), service, name, db_system, db_collection, statement,
calls, requests, per_request.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.errors import ColumnError
from analysis.forest import REPEAT, plant, to_rows
from analysis.identity import ids, trace_codes
from analysis.traces import attribute

CACHES = ("redis", "memcached", "valkey", "keydb", "dragonfly", "hazelcast", "ehcache")
"""Database systems whose calls are cache calls."""
_CONNECT = "connect|begin|commit|rollback|reset|ping|set session|discard|hello|auth|client setinfo|select db"
"""Operations of a connection, not of the application's data."""
_FETCH = r"fetch(?:one|all|many|row|val)?|cursor|close cursor|move"
_KEYS = ["call", "service", "name", "db_system", "db_collection", "statement"]


def per_request(spans: pd.DataFrame, *, by: str | None = None) -> pd.DataFrame:
    """Count database and cache calls per request by operation and statement, most first.

    A request is a trace; ``requests`` is the number of all requests, also those without a call, so
    that ``per_request`` of several rows adds up. ``by="arm"`` counts each arm's calls over that arm's
    requests, with the arm as first column. Raises ``ColumnError`` for a table that is not spans.
    """
    if by is not None and by not in spans.columns:
        raise ColumnError(
            f"The spans table has no column {by}; calls can be split by a column it has, such as arm."
        )
    found = calls(spans)
    keys = [by, *_KEYS] if by else _KEYS
    if by:
        found.insert(0, by, spans[by].reindex(found.index))
    requests = _requests(spans, by)
    table = found.groupby(keys, dropna=False, as_index=False, observed=True).size()
    table = table.rename(columns={"size": "calls"})
    table["requests"] = table[by].map(requests) if by else int(requests.sum())
    table["per_request"] = table["calls"] / table["requests"]
    order = [*([by] if by else []), "calls", *_KEYS]
    ascending = [name != "calls" for name in order]
    return table.sort_values(order, ascending=ascending, ignore_index=True)


def calls(spans: pd.DataFrame) -> pd.DataFrame:
    """Give each database or cache call's kind, operation and statement; the index is the spans'.

    A call is a CLIENT span (or one of a kind not given) that names a database system; a span delivered twice is one call.
    """
    forest = plant(spans)
    once = to_rows(forest.parent, forest) != REPEAT
    system = spans["db_system"] if "db_system" in spans.columns else pd.Series(pd.NA, spans.index, dtype="str")
    client = ~spans["kind"].isin(["SERVER", "CONSUMER", "PRODUCER"]) if "kind" in spans.columns else True
    chosen = spans[system.notna() & once & client]
    return pd.DataFrame(
        {
            "call": kinds(chosen),
            "service": chosen["service"],
            "name": chosen["name"],
            "db_system": chosen["db_system"],
            "db_collection": chosen.get("db_collection"),
            "statement": statements(chosen),
        },
        index=chosen.index,
    )


def statements(spans: pd.DataFrame) -> pd.Series[str]:
    """Give each call's statement: the query's text without values, else its summary, else operation and collection."""
    text = pd.Series(pd.NA, index=spans.index, dtype="str")
    if "attributes" in spans.columns:
        for key in ("db.query.text", "db.statement", "db.query.summary"):
            found = attribute(spans, key)
            if found.notna().any():
                text = text.fillna(found.astype("str"))
    return text.fillna(spans["db_operation"]) if "db_operation" in spans.columns else text


def kinds(spans: pd.DataFrame) -> pd.Series[str]:
    """Tell each call's kind: cache by its system, connect and fetch by operation or span name, else query."""
    operation = spans["db_operation"] if "db_operation" in spans.columns else pd.Series(pd.NA, spans.index, dtype="str")
    word = operation.fillna(spans["name"]).str.strip().str.lower()
    name = spans["name"].fillna("").str.strip().str.lower()
    kind = pd.Series("query", index=spans.index, dtype="str")
    for found, pattern in (("connect", _CONNECT), ("fetch", _FETCH)):
        kind = kind.mask(
            word.str.fullmatch(pattern).fillna(value=False) | name.str.contains(rf"(?:^|[. ])(?:{pattern})$", regex=True),
            found,
        )
    return kind.mask(spans["db_system"].str.lower().isin(CACHES), "cache")


def _requests(spans: pd.DataFrame, by: str | None) -> pd.Series[int]:
    """Number of traces, by group where asked."""
    trace = ids(spans["trace_id"])
    codes, count = trace_codes(trace.data, trace.offsets, trace.hashes)
    if by is None:
        return pd.Series([count])
    first = np.full(count, -1, np.int64)
    first[codes[::-1]] = np.arange(codes.size)[::-1]
    return spans[by].iloc[first].value_counts(dropna=False)
