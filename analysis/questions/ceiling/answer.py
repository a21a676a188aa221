"""What would have been the most that this could give?

Removing an operation whole cannot gain more than its share of the critical path (Amdahl, 1967):
speed-up 1 / (1 - s). For the database: caching an operation whole cannot save more than the
queries made under it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.calls.classify import is_query
from analysis.calltree import sampling
from analysis.calltree.call_tree import CallTrees
from analysis.questions.measured import Measured
from analysis.questions.shares.answer import ShareRow
from analysis.questions.shares.answer import answer as shares
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
    baseline, spans, tops = measured.manifest.baseline, measured.spans, measured.roots
    rows = measured.once(shares).rows
    calls = is_query(spans).to_numpy(bool, copy=True)
    if baseline is not None:
        rows = tuple(row for row in rows if row.arm == baseline)
        tops = tops[tops["arm"] == baseline]
        calls &= (spans["arm"] == baseline).to_numpy(bool, na_value=False)
    verbs = [verb for verb in spans["db_operation"].unique() if isinstance(verb, str)]
    writes = [verb for verb in verbs if verb.upper() in WRITES]
    reads = calls & ~spans["db_operation"].isin(writes).to_numpy(bool)
    weight = sampling.weights_of(spans).to_numpy(np.float64)
    requests = float(sampling.weights_of(tops).sum())
    return ceilings(
        rows,
        made=made_under(measured.call_trees, calls * weight, requests),
        reads=made_under(measured.call_trees, reads * weight, requests),
        all_per_request=float(weight[calls].sum()) / max(requests, 1),
        request_ms=sampling.weighted_mean(tops["duration_ns"].astype("float64"), tops) / 1e6,
    )


def ceilings(
    rows: Iterable[ShareRow],
    *,
    made: Mapping[str, float],
    reads: Mapping[str, float],
    all_per_request: float,
    request_ms: float,
) -> Ceilings:
    """The ceiling of every operation, largest share first.

    Of the root its own time alone: a request without itself is no request.
    ``made`` and ``reads`` as ``made_under``, of all queries and of those that a cache could
    answer; ``request_ms`` is the mean duration of a root.
    """
    found = [
        CeilingRow(
            service=row.service,
            operation=row.operation,
            share=share,
            speedup_at_most=speedup_at_most(share),
            saves_at_most_ms=share.scaled(request_ms, "ms"),
            queries_per_request=made.get(row.operation, 0.0),
            reads_per_request=reads.get(row.operation, 0.0),
            queries_saved_at_most=(
                reads.get(row.operation, 0.0) / all_per_request if all_per_request else None
            ),
        )
        for row in rows
        for share in [row.share if row.root else row.whole]
    ]
    return Ceilings(rows=tuple(sorted(found, key=lambda row: -(row.share.value or 0.0))))


def speedup_at_most(share: Estimate) -> Estimate:
    """1 / (1 - s), Amdahl's limit when the operation costs nothing at all."""
    value, low, high = (
        None if end is None or end >= 1.0 else 1.0 / (1.0 - end)
        for end in (share.value, share.low, share.high)
    )
    return replace(share, value=value, low=low, high=high, unit="ratio")


def made_under(
    call_trees: CallTrees, calls: NDArray[np.float64], requests: float
) -> dict[str, float]:
    """By operation, how many of ``calls`` a request makes directly under it.

    ``calls`` says of each row of the spans for how many calls it stands, 0 for what is none.
    """
    counted = calls[call_trees.order]
    below = (counted > 0) & (call_trees.parent >= 0)
    counts = np.bincount(
        call_trees.operation[call_trees.parent[below]],
        counted[below],
        minlength=len(call_trees.operations),
    )
    made = pd.Series(counts / max(requests, 1), index=call_trees.operations["name"])
    return {str(name): float(each) for name, each in made.groupby(level=0).sum().items()}
