"""Which group is each request of? Its root operation, or what a column says at its earliest span.

Answer: one value a trace, in the order of the call trees' traces, indexed by the
rows that they are taken from.
"""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from analysis.calltree.call_tree import CallTrees
from analysis.calltree.roots import roots_of
from analysis.errors import ColumnError

ROOT = "root"
"""Split by this, a table has one group a root operation."""


def of_requests(
    spans: pd.DataFrame, call_trees: CallTrees, by: str, answer: Collection[str]
) -> pd.Series:
    """Give the value of column ``by`` for each trace; ``answer`` are the columns it is put beside.

    ``by="root"`` gives each trace's root operation, which needs no column.

    Raises ``ColumnError`` where the table has no such column, or the answer has one of that name.
    """
    if by == ROOT:
        return roots_of(spans, call_trees)
    if by not in spans.columns:
        raise ColumnError(
            f"The spans table has no column {by}; split by root, or by a column that it has, "
            "such as arm."
        )
    if by in answer:
        raise ColumnError(
            f"The answer has a column {by} of its own; split by another one, such as arm."
        )
    return spans[by].iloc[call_trees.order[call_trees.begins[:-1]]]
