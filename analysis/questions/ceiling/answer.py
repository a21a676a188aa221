"""What would have been the most that this could give?

Removing an operation whole cannot gain more than its share of the critical path (Amdahl, 1967):
speed-up 1 / (1 - s). For the database: caching an operation whole cannot save more than the
queries made under it.

Answer: operation, service, share, speedup_at_most, saves_at_most_ms, queries_per_request,
reads_per_request (those that a cache could answer), queries_saved_at_most (share of all queries).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.calltree.call_tree import CallTrees
from analysis.checks.cross_checks import is_database_call
from analysis.questions.measured import Measured
from analysis.questions.rows import typed
from analysis.questions.shares import answer as shares
from analysis.stats.intervals import Estimate

WRITES = ("INSERT", "UPDATE", "DELETE", "MERGE", "COPY")
"""Statements that no cache can answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CeilingRow:
    """The most that removing an operation could give."""

    service: str
    operation: str
    share: Estimate
    """Of the critical path, with all that runs inside it."""
    speedup_at_most: Estimate
    saves_at_most_ms: Estimate
    queries_per_request: float
    reads_per_request: float
    """Those that a cache could answer."""
    queries_saved_at_most: float | None
    """Share of all queries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """The ceilings of all operations of the baseline, largest share first."""

    rows: tuple[CeilingRow, ...]


def answer(measured: Measured) -> Ceilings:
    """Ceilings of the baseline: the time and queries that are there to be saved."""
    return Ceilings(rows=typed(measured.once(ceilings), CeilingRow))


def ceilings(measured: Measured) -> pd.DataFrame:
    """``ceiling`` of a run's baseline, shared with ``worth_caching``."""
    baseline, spans = measured.manifest.baseline, measured.spans
    rows = measured.once(shares.answer).rows
    own = pd.DataFrame(
        [(row.arm, row.service, row.operation, row.whole) for row in rows],
        columns=["arm", "service", "operation", "whole"],
    )
    tops = measured.roots
    calls = is_database_call(spans).to_numpy(bool, copy=True)
    if baseline is not None:
        own, tops = own[own["arm"] == baseline], tops[tops["arm"] == baseline]
        calls &= (spans["arm"] == baseline).to_numpy(bool, na_value=False)
    verbs = [verb for verb in spans["db_operation"].unique() if isinstance(verb, str)]
    writes = [verb for verb in verbs if verb.upper() in WRITES]
    reads = ~spans["db_operation"].isin(writes).to_numpy(bool)
    below = queries_under(measured.call_trees, calls, reads, len(tops))
    mean_ms = float(tops["duration_ns"].astype("float64").mean()) / 1e6
    return ceiling(own, below, request_ms=mean_ms)


def ceiling(shared: pd.DataFrame, queries: pd.DataFrame, *, request_ms: float) -> pd.DataFrame:
    """The ceiling of every operation, largest share first.

    ``shared`` as ``shares.answer.shares`` (of the baseline), of which the whole counts:
    what runs inside an operation goes with it. ``queries`` as ``queries_under``,
    ``request_ms`` the mean duration of a root.
    """
    below = queries.set_index("operation")
    whole = float(queries["all_per_request"].max()) if len(queries) else math.nan
    rows = []
    for row in shared.to_dict("records"):
        share: Estimate = row["whole"]
        known = row["operation"] in below.index
        made = float(below["queries_per_request"][row["operation"]]) if known else 0.0
        reads = float(below["reads_per_request"][row["operation"]]) if known else 0.0
        rows.append(
            {
                "service": row["service"],
                "operation": row["operation"],
                "share": share,
                "speedup_at_most": speedup_at_most(share),
                "saves_at_most_ms": share.scaled(request_ms, "ms"),
                "queries_per_request": made,
                "reads_per_request": reads,
                "queries_saved_at_most": reads / whole if whole else math.nan,
            }
        )
    rows.sort(key=lambda row: -float(row["share"].value or 0.0))
    columns = [
        "service", "operation", "share", "speedup_at_most", "saves_at_most_ms",
        "queries_per_request", "reads_per_request", "queries_saved_at_most",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def speedup_at_most(share: Estimate) -> Estimate:
    """1 / (1 - s), Amdahl's limit when the operation costs nothing at all."""
    ends = [
        None if end is None or end >= 1.0 else 1.0 / (1.0 - end)
        for end in (share.value, share.low, share.high)
    ]
    return replace(share, value=ends[0], low=ends[1], high=ends[2], unit="ratio")


def queries_under(
    call_trees: CallTrees, calls: NDArray[np.bool_], reads: NDArray[np.bool_], requests: int
) -> pd.DataFrame:
    """Logical queries per request made directly under each operation.

    ``calls`` and ``reads`` say by row of the spans which are queries and which a cache could
    answer. Columns operation, queries_per_request, reads_per_request, all_per_request.
    """
    operations = len(call_trees.operations)
    counts = {}
    for name, chosen in (("queries_per_request", calls), ("reads_per_request", calls & reads)):
        above = call_trees.parent[chosen[call_trees.order]]
        made = np.bincount(call_trees.operation[above[above >= 0]], minlength=operations)
        counts[name] = made / max(requests, 1)
    table = pd.DataFrame({"operation": call_trees.operations["name"], **counts})
    table = table.groupby("operation", as_index=False).sum()
    return table.assign(all_per_request=float(calls.sum()) / max(requests, 1))
