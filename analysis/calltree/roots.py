"""Which root operation is each request of? That of its first span: ``shop: POST /orders``.

Where a trace begins with the load's CLIENT span, it is the operation of the first SERVER (or
CONSUMER) span below: whoever sends the request, it is of the same kind.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.calltree.recorded_trees import CallTrees, to_rows
from analysis.kernels import adoption


def entries_of(call_trees: CallTrees) -> NDArray[np.int64]:
    """Give, for each trace, the position of the span that the request begins with."""
    if "entries" not in call_trees.known:
        call_trees.known["entries"] = adoption.entries(
            call_trees.begins, call_trees.queue_begins, call_trees.queue, call_trees.parent,
            call_trees.kind,
        )  # fmt: skip
    return call_trees.known["entries"]


def roots_of(spans: pd.DataFrame, call_trees: CallTrees) -> pd.Series[str]:
    """Give each trace's root operation, in the order of the call trees' traces.

    The index is that of the rows of the spans that the requests begin with.
    """
    entries = entries_of(call_trees)
    labels = names_of(call_trees.operations).to_numpy()
    return pd.Series(
        labels[call_trees.operation[entries]],
        index=spans.index[call_trees.order[entries]],
        dtype="str",
        name="root",
    )


def spans_of(root: str, spans: pd.DataFrame, call_trees: CallTrees) -> pd.DataFrame:
    """Give the spans of the traces of one root operation."""
    others = (roots_of(spans, call_trees) != root).to_numpy()
    if not others.any():
        return spans
    return spans[~to_rows(np.repeat(others, np.diff(call_trees.begins)), call_trees)]


def names_of(operations: pd.DataFrame) -> pd.Series[str]:
    """Write operations (service, name) as root operations: ``service: name``."""
    service, name = (operations[column].astype("str").fillna("") for column in ("service", "name"))
    return (service + ": " + name).where(service != "", name)
