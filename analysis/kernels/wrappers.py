"""Which calls are one call told twice? Calls above calls, and one beside another around it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.kernels.compiled import compiled

STOP, THROUGH, CALL = range(3)
"""What a span is on the way up from a call: the end, no matter, the call that is looked for."""
_LOOK_BACK = 64
"""So many calls of one statement that run at once below one parent are told apart."""


@compiled
def calls_above(
    queue: NDArray[np.int32], parent: NDArray[np.int32], role: NDArray[np.int8]
) -> NDArray[np.int32]:
    """Give each span's nearest call above it, seen through spans that do not matter; -1: none."""
    above = np.full(parent.size, np.int32(-1))
    for p in queue:
        over = parent[p]
        if over < 0:
            continue
        if role[over] == CALL:
            above[p] = over
        elif role[over] == THROUGH:
            above[p] = above[over]
    return above


@compiled
def outer_twins(
    group: NDArray[np.int64],
    end: NDArray[np.int64],
    form: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Tell calls around another of the same group that another instrumentation wrote.

    Rows are in order of group, start, and the longest first. Each inner call has one outer.
    """
    outer = np.zeros(group.size, np.bool_)
    for inner in range(group.size):
        for around in range(inner - 1, max(-1, inner - 1 - _LOOK_BACK), -1):
            if group[around] != group[inner]:
                break
            if not outer[around] and form[around] != form[inner] and end[around] >= end[inner]:
                outer[around] = True
                break
    return outer


@compiled
def layers_around(
    group: NDArray[np.int64],
    end: NDArray[np.int64],
    is_layer: NDArray[np.bool_],
    about: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Tell a layer's calls around a driver's call of the same group, each of one.

    Rows are in order of group, start, and the longest first. ``about`` has what both must agree
    on, a row each, -1 where it is not known.
    """
    outer = np.zeros(group.size, np.bool_)
    for inner in range(group.size):
        if is_layer[inner]:
            continue
        for around in range(inner - 1, max(-1, inner - 1 - _LOOK_BACK), -1):
            if group[around] != group[inner]:
                break
            if not is_layer[around] or outer[around] or end[around] < end[inner]:
                continue
            known = (about[:, around] >= 0) & (about[:, inner] >= 0)
            if not (known & (about[:, around] != about[:, inner])).any():
                outer[around] = True
                break
    return outer
