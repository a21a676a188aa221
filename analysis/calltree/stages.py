"""Which stage of a request takes the time, whatever runs inside it?

A stage is a span directly under a root; all that happens below it is its own. Shares by operation
split ``personality.lookup`` from the query that it makes; somebody who asks what the lookup takes
means both. Renaming each span to its stage leaves every definition of a share as it is.

Answer: the spans with service and name of their stage; a root keeps its own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from analysis.calltree import network
from analysis.calltree.call_tree import CallTrees, build_trees, to_rows
from analysis.calltree.roots import entries_of
from analysis.kernels.codes import ROOT


def by_stage(spans: pd.DataFrame, call_trees: CallTrees | None = None) -> pd.DataFrame:
    """Give a copy of the spans in which service and name are those of the stage.

    ``call_trees`` is that of these spans, where they were built already.
    """
    if spans.empty:
        return spans
    call_trees = build_trees(spans) if call_trees is None else call_trees
    stage = stage_of(call_trees.parent)
    rows = to_rows(call_trees.order[stage], call_trees)
    renamed = spans.copy(deep=False)
    for column in ("service", "name"):
        chunks = pa.array(spans[column]).take(pa.array(rows))
        renamed[column] = pd.Series(
            chunks.to_pandas().array, index=spans.index, dtype=spans[column].dtype
        )
    return renamed


def of_stages(call_trees: CallTrees) -> CallTrees:
    """Give the trees with each span's operation that of its stage.

    Where the load's CLIENT span begins the trace, stages begin below the request's first SERVER
    span, and what the client waited beside it is ``network and queue``.
    """
    parent, operations = call_trees.parent, call_trees.operations
    entries = entries_of(call_trees)
    below = entries[parent[entries] >= 0]
    if below.size == 0:
        return replace(call_trees, operation=call_trees.operation[stage_of(parent)])
    parent = parent.copy()
    parent[below] = ROOT
    operation = call_trees.operation[stage_of(parent)].copy()
    ways = np.flatnonzero((call_trees.parent < 0) & network.is_between(call_trees))
    service = operations["service"].iloc[operation[ways]]
    codes, services = pd.factorize(service)
    operation[ways] = len(operations) + codes
    more = pd.DataFrame({"service": services, "name": network.NAME})
    whole = pd.concat([operations, more], ignore_index=True).astype(operations.dtypes.to_dict())
    return replace(call_trees, operation=operation, operations=whole)


def stage_of(parent: NDArray[np.int32]) -> NDArray[np.int64]:
    """By position, the ancestor directly under a root; a root is its own.

    Each round doubles how far up every span has looked, so that depth 50,000 takes 16 rounds.
    """
    places = np.arange(parent.size, dtype=np.int64)
    upwards = parent.astype(np.int64)
    above = np.where(upwards >= 0, upwards, places)
    up = np.where(parent[above] >= 0, above, places)
    while True:
        further = up[up]
        if np.array_equal(further, up):
            return up
        up = further
