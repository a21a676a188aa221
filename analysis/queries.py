"""Where does the load go? Database and cache calls per request, by operation and statement.

Queries are counted as queries; what a connection, a cursor or a transaction costs is counted
apart, by ``call``. What is a query, and which statements are the same, is ``analysis.calls``'s.

Answer: call (query, cache, connect, pool wait, ping, session reset, prepare, fetch, transaction,
setting, orm cache), service, name, db_system, db_collection, statement, calls, requests,
per_request.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.calls.classify import calls
from analysis.calltree import sampling
from analysis.calltree.call_tree import build_trees
from analysis.calltree.groups import of_requests

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
