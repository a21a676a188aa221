"""Walks over whole trees: parents before children, each child's subtree behind it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.kernels.codes import REPEAT
from analysis.kernels.compiled import compiled


@compiled
def preorder(
    parent: NDArray[np.int32],
    queue: NDArray[np.int32],
    child_begin: NDArray[np.int32],
    child_count: NDArray[np.int32],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions as a tree is read, and the depth of each; spans delivered twice come last."""
    order = np.empty(parent.size, np.int64)
    depth = np.zeros(parent.size, np.int64)
    deep = np.zeros(parent.size, np.int64)
    stack = np.empty(parent.size, np.int64)
    filled = height = 0
    for k in range(queue.size - 1, -1, -1):
        if parent[queue[k]] < 0:
            stack[height] = queue[k]
            height += 1
    while height > 0:
        height -= 1
        p = stack[height]
        order[filled] = p
        depth[filled] = deep[p]
        filled += 1
        for k in range(child_begin[p] + child_count[p] - 1, child_begin[p] - 1, -1):
            deep[queue[k]] = deep[p] + 1
            stack[height] = queue[k]
            height += 1
    for p in range(parent.size):
        if parent[p] == REPEAT:
            order[filled] = p
            filled += 1
    return order, depth
