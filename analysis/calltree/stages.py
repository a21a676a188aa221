"""Which stage of a request takes the time, whatever runs inside it?

A stage is a span directly under a root; all that happens below it is its own. Shares by operation
split ``personality.lookup`` from the query that it makes; somebody who asks what the lookup takes
means both. Naming each span after its stage leaves every definition of a share as it is.

Answer: the call trees with the operation of each span's stage; a root keeps its own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.calltree import network
from analysis.calltree.call_tree import CallTrees
from analysis.calltree.roots import entries_of
from analysis.kernels.codes import ROOT


def of_stages(call_trees: CallTrees) -> CallTrees:
    """Give the trees with each span's operation that of its stage.

    Where the load's CLIENT span begins the trace, stages begin below the request's first SERVER
    span, and what the client waited beside it is ``network and queue``.
    """
    operations = call_trees.operations
    parent = request_parents(call_trees)
    operation = call_trees.operation[stage_of(parent)]
    if parent is call_trees.parent:
        return replace(call_trees, operation=operation)
    operation = operation.copy()
    ways = np.flatnonzero((call_trees.parent < 0) & network.is_between(call_trees))
    service = operations["service"].iloc[operation[ways]]
    codes, services = pd.factorize(service)
    operation[ways] = len(operations) + codes
    more = pd.DataFrame({"service": services, "name": network.NAME})
    whole = pd.concat([operations, more], ignore_index=True).astype(operations.dtypes.to_dict())
    return replace(call_trees, operation=operation, operations=whole)


def request_parents(call_trees: CallTrees) -> NDArray[np.int32]:
    """Give each span's parent, none where a request begins below the load's own CLIENT span."""
    parent, entries = call_trees.parent, entries_of(call_trees)
    below = entries[parent[entries] >= 0]
    if below.size == 0:
        return parent
    parent = parent.copy()
    parent[below] = ROOT
    return parent


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
