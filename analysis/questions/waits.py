"""How long do requests wait, apart from work? For a connection, for a lock, for somebody to begin.

Four waits can be told from spans: ``pool`` (a span or attribute says how long a connection was
waited for), ``lock`` (likewise a lock), ``queue`` (from a call's start to the start of its other
side: network and the server's queue, before the first byte of work) and ``message`` (from the end
of sending to the start of consuming). With a requests table, ``queue`` also holds the time from a
request's sending to its root's start.

Answer: wait, service, name (the operation that waits), spans, per_request, total_ms, mean_ms,
p95_ms, share (of the roots' time; waits may overlap work, so shares of waits do not add up to 1).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.calltree.call_tree import CallTrees, build_trees
from analysis.kernels.codes import CLIENT, CONSUMER, PRODUCER, REPEAT, SERVER
from analysis.traces import attribute
from worthit.contract.names import POOL_WAIT_NS

POOL_ATTRIBUTES = {
    POOL_WAIT_NS: 1.0,
    "db.client.connection.wait_time": 1e9,
    "db.client.connections.wait_time": 1e6,
}
"""Attributes that say how long a connection was waited for, and their unit in ns: the second is in
seconds, the superseded third in milliseconds, as the semantic conventions have the metrics."""
_POOL_NAMES = (
    r"(?i)(?:pool|connection)[ ._:-]?(?:acquire|checkout|wait|get)"
    r"|(?:acquire|wait for|checkout)[ ._:-]?(?:pool|connection)|getconn"
)
_LOCK_NAMES = (
    r"(?i)\b(?:lock|mutex|semaphore)[ ._:-]?(?:acquire|wait)"
    r"|(?:acquire|wait for)[ ._:-]?(?:lock|mutex|semaphore)|pg_advisory(?:_xact)?_lock"
)
"""Names by which tracers call a span that only waits."""
_NS_PER_MS = 1e6


def waits(spans: pd.DataFrame, requests: pd.DataFrame | None = None) -> pd.DataFrame:
    """Add up what is waited for, the longest total first.

    ``requests`` is the run's requests table (trace_id, sent_ns); without it the time before a root
    is unknown and left out. Raises ``ColumnError`` for a table that is not spans.
    """
    call_trees = build_trees(spans)
    found = [*_named(spans, call_trees), *_between(call_trees)]
    if requests is not None:
        found.append(_before_roots(spans, call_trees, requests))
    root_ns = float((call_trees.end - call_trees.start)[call_trees.is_root].sum())
    count = max(call_trees.begins.size - 1, 1)
    tables = [_table(kind, positions, ns, call_trees) for kind, positions, ns in found]
    whole = pd.concat(tables, ignore_index=True)
    keys = ["wait", "service", "name"]
    table = whole.groupby(keys, as_index=False).agg(
        spans=("ns", "size"), total_ms=("ns", "sum"), mean_ms=("ns", "mean"),
        p95_ms=("ns", lambda ns: ns.quantile(0.95)),
    )  # fmt: skip
    table.insert(4, "per_request", table["spans"] / count)
    table["share"] = table["total_ms"] / root_ns if root_ns > 0 else np.nan
    for name in ("total_ms", "mean_ms", "p95_ms"):
        table[name] = table[name] / _NS_PER_MS
    return table.sort_values(
        ["total_ms", *keys], ascending=[False, True, True, True], ignore_index=True
    )


_Wait = tuple[str, NDArray[np.int64], NDArray[np.float64]]


def _named(spans: pd.DataFrame, call_trees: CallTrees) -> Iterator[_Wait]:
    """Waits that a span's name or attribute tells."""
    once = call_trees.parent != REPEAT
    lasting = (call_trees.end - call_trees.start).astype(np.float64)
    names = call_trees.operations["name"]
    for kind, pattern in (("pool", _POOL_NAMES), ("lock", _LOCK_NAMES)):
        waiting = names.str.contains(pattern, regex=True).to_numpy(dtype=bool)
        positions = (
            np.flatnonzero(waiting[call_trees.operation] & once)
            if len(names)
            else np.zeros(0, np.int64)
        )
        yield kind, positions, lasting[positions]
    if "attributes" not in spans.columns:
        return
    for key, unit_ns in POOL_ATTRIBUTES.items():
        values = pd.to_numeric(attribute(spans, key), errors="coerce").to_numpy(
            dtype=np.float64, na_value=np.nan
        )
        waited = values[call_trees.order] * unit_ns
        positions = np.flatnonzero(np.isfinite(waited) & once)
        yield "pool", positions, waited[positions]


def _between(call_trees: CallTrees) -> Iterator[_Wait]:
    """Waits between a call's two sides; a negative one is clock skew and not a wait."""
    child = np.flatnonzero(call_trees.parent >= 0)
    above = call_trees.parent[child]
    for kind, upper, lower, since in (
        ("queue", CLIENT, SERVER, call_trees.start),
        ("message", PRODUCER, CONSUMER, call_trees.end),
    ):
        pairs = (call_trees.kind[above] == upper) & (call_trees.kind[child] == lower)
        waited = (call_trees.start[child] - since[above])[pairs]
        yield kind, child[pairs][waited >= 0], waited[waited >= 0].astype(np.float64)


def _before_roots(spans: pd.DataFrame, call_trees: CallTrees, requests: pd.DataFrame) -> _Wait:
    """The time from sending a request to the start of its first root."""
    first = call_trees.queue[call_trees.queue_begins[:-1]]
    trace = spans["trace_id"].iloc[call_trees.order[first]]
    sent = requests.drop_duplicates("trace_id").set_index("trace_id")["sent_ns"].astype("Int64")
    start = pd.Series(call_trees.start[first], index=trace, dtype="Int64")  # doubles lose ns
    waited = (start - sent.reindex(trace)).to_numpy(dtype=np.float64, na_value=np.nan)
    known = np.isfinite(waited) & (waited >= 0)
    return "queue", first[known].astype(np.int64), waited[known]


def _table(
    kind: str, positions: NDArray[np.int64], ns: NDArray[np.float64], call_trees: CallTrees
) -> pd.DataFrame:
    named = call_trees.operations.iloc[call_trees.operation[positions]].reset_index(drop=True)
    return named.assign(wait=kind, ns=ns)
