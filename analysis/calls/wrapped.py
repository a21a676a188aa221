"""Which calls did two instrumentations write? The outer of the two is told, and not counted.

An ORM's span over a driver's, one client's over another's, or one around the other below the same
parent: one call went to the database. A span over several different calls wraps all of them.
Below the same parent both must have the same statement. An ORM often tells none, or a document of
its own: its system and collection must be the driver's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.calltree.call_tree import CallTrees
from analysis.kernels import wrappers


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is known of each call that counts as a query or a cache's; arrays side by side."""

    position: NDArray[np.int64]
    """Of the call trees."""
    kind: NDArray[np.int64]
    """Query or cache, as a number."""
    service: NDArray[np.int64]
    family: NDArray[np.int64]
    """The system, by one spelling; -1 where it may be any, as of an ORM."""
    statement: NDArray[np.int64]
    """-1 where no text is known."""
    sql: NDArray[np.int64]
    """The statement, which a layer passes on as it is; -1 for none and for documents."""
    collection: NDArray[np.int64]
    """-1 where it is not known."""
    is_layer: NDArray[np.bool_]
    """Written by an ORM or the like, not by a driver."""
    form: NDArray[np.int64]
    """The instrumentation: its scope, the name as it writes it, the spelling of the system."""


def wrapping(told: Told, call_trees: CallTrees, above: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Tell calls that only wrap another. ``above`` as of ``kernels.wrappers.calls_above``."""
    found = _over(told, call_trees, above)
    inner = ~found
    found[inner] = _around(told, call_trees, np.flatnonzero(inner))
    if told.is_layer.any():
        inner = ~found
        found[inner] = _layers_around(told, call_trees, np.flatnonzero(inner))
    return found


def _over(told: Told, call_trees: CallTrees, above: NDArray[np.int32]) -> NDArray[np.bool_]:
    place = np.full(call_trees.parent.size, -1, np.int64)
    place[told.position] = np.arange(told.position.size)
    upper = above[told.position]
    below = np.flatnonzero(upper >= 0)
    over = place[upper[below]]
    same = (told.service[over] == told.service[below]) & (told.kind[over] == told.kind[below])
    same &= (told.family[over] == told.family[below]) | (
        np.minimum(told.family[over], told.family[below]) < 0
    )
    # a context that leaked: begun only after the span above had ended
    start, end = call_trees.start[told.position], call_trees.end[told.position]
    same &= (start[below] < end[over]) | (start[below] == start[over])
    # one instrumentation tells of two statements: two calls, one started by the other
    other = (told.statement[over] != told.statement[below]) & (
        np.minimum(told.statement[over], told.statement[below]) >= 0
    )
    same &= ~(other & (told.form[over] == told.form[below]))
    found = np.zeros(told.position.size, np.bool_)
    found[over[same]] = True
    return found


def _around(told: Told, call_trees: CallTrees, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
    known = chosen[told.statement[chosen] >= 0]
    position = told.position[known]
    parent = _parents(call_trees, position)
    group = pair_codes(
        pair_codes(parent, told.statement[known]),
        pair_codes(told.service[known], told.kind[known]),
    )
    found = np.zeros(told.position.size, np.bool_)
    forms = pair_codes(group, told.form[known])
    if not known.size or group.max() == forms.max():  # nowhere do two write of one statement
        return found[chosen]
    start, end = call_trees.start[position], call_trees.end[position]
    order = np.lexsort((told.form[known], -end, start, group))
    outer = wrappers.outer_twins(group[order], end[order], told.form[known][order])
    found[known[order]] = outer
    return found[chosen]


def _layers_around(
    told: Told, call_trees: CallTrees, chosen: NDArray[np.int64]
) -> NDArray[np.bool_]:
    position = told.position[chosen]
    group = pair_codes(
        _parents(call_trees, position), pair_codes(told.service[chosen], told.kind[chosen])
    )
    start, end = call_trees.start[position], call_trees.end[position]
    is_layer = told.is_layer[chosen]
    order = np.lexsort((~is_layer, -end, start, group))
    about = np.stack([one[chosen][order] for one in (told.family, told.collection, told.sql)])
    found = np.zeros(chosen.size, np.bool_)
    found[order] = wrappers.layers_around(group[order], end[order], is_layer[order], about)
    return found


def _parents(call_trees: CallTrees, position: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give each span's parent; of one without, a number for its trace."""
    trace = np.searchsorted(call_trees.begins, position, side="right") - 1
    parent = call_trees.parent[position].astype(np.int64)
    return np.where(parent >= 0, parent, -1 - trace)


def pair_codes(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the pairs."""
    low = int(left.min()) if left.size else 0
    width = int(right.max()) + 2 if right.size else 1
    codes, _ = pd.factorize((left - low) * width + right + 1)
    return codes.astype(np.int64)
