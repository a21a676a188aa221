"""How long was a call on its way? What a client waited for while its server did not work.

A CLIENT span that has its server's span below it has no work of its own there: what is left of it
is the network, and the queue before the server takes the call. It is the client's self time, of
which the part on the critical path is the call's ``network and queue``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis import self_time
from analysis.calltree.recorded_trees import CallTrees
from analysis.kernels.codes import CLIENT, SERVER

NAME = "network and queue"
"""What this time is called in tables of stages and operations."""


def is_between(call_trees: CallTrees) -> NDArray[np.bool_]:
    """Whether the span at each position is a CLIENT span with its server's span below it."""
    found = np.zeros(call_trees.parent.size, np.bool_)
    servers = np.flatnonzero((call_trees.kind == SERVER) & (call_trees.parent >= 0))
    above = call_trees.parent[servers]
    found[above[call_trees.kind[above] == CLIENT]] = True
    return found


def by_position(call_trees: CallTrees) -> NDArray[np.int64]:
    """Give the time on the way by position of the client's span, ns; 0 for other spans."""
    return np.where(is_between(call_trees), self_time.by_position(call_trees), 0)
