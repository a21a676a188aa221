"""Where does a query end whose instrumentation has a span of its own for the rows?

Go's otelsql, and what is written like it, begins the span of the rows a few microseconds before it
ends that of the query. On a critical path the query would then run beside its rows and hold
nobody up: a request of three queries of 4 ms would wait for none of them. So a query ends where
the reading of its rows begins.

Worked example, in us: ``sql.conn.query`` 0 to 4,000, ``sql.rows`` 3,995 to 4,030. The query is
taken to end at 3,995, and both are on the path.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.calltree.call_tree import CallTrees

ROWS = r"^(?:sql|db|otelsql)[.:]rows$|^result-set$|^resultset$|^jdbc result-set$"
"""Span names, in lower case, of the reading of a query's rows; sources in
``analysis.calls.instrumentations``."""

OVERLAP_SHARE = 0.01
"""CRISP's limit: siblings that overlap by less of their parent ran one after the other."""


def query_ends(call_trees: CallTrees) -> NDArray[np.int64]:
    """The end of every span by position; that of a query is where its rows begin."""
    start, end, parent = call_trees.start, call_trees.end, call_trees.parent
    names = call_trees.operations["name"].astype("str").str.lower()
    is_rows = names.str.match(ROWS).to_numpy(bool)[call_trees.operation] & (parent >= 0)
    rows = np.flatnonzero(is_rows)
    if rows.size == 0:
        return end
    others = np.flatnonzero(np.isin(parent, parent[rows]) & ~is_rows)
    # each rows' start among its siblings' ends: the next end is that of its query
    both = np.concatenate([rows, others])
    moment = np.concatenate([start[rows], end[others]])
    of_others = np.arange(both.size) >= rows.size
    order = np.lexsort((of_others, moment, parent[both]))
    places = np.where(of_others[order], np.arange(both.size), both.size)
    following = np.minimum.accumulate(places[::-1])[::-1]
    found = ~of_others[order] & (following < both.size)
    read, query = both[order[found]], both[order[following[found]]]
    above = parent[read]
    overlap = end[query] - start[read]
    continues = (
        (parent[query] == above)
        & (start[query] < start[read])
        & (end[query] <= end[read])
        & (overlap > 0)
        & (overlap < OVERLAP_SHARE * (end[above] - start[above]))
    )
    cut = end.copy()
    np.minimum.at(cut, query[continues], start[read[continues]])
    return cut
