"""What else is worth caching: the most each operation could save, in time and in queries."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.document import formatting
from analysis.drawing import dots, style


def figure(table: pd.DataFrame, *, narrow: bool = False) -> Figure:
    """Draw a row an operation: time saved a request above, queries saved a request below.

    ``table``: ``operation``, ``saved_ms``, ``saved_ms_low``, ``saved_ms_high``,
    ``saved_queries``, ``saved_queries_low``, ``saved_queries_high`` (null where unknown),
    ``strong``.
    """
    panels = []
    for column, unit, title, axis in (
        ("saved_ms", "ms", "Time of a request, at most", "milliseconds a request"),
        ("saved_queries", "count", "Queries to the database", "queries a request"),
    ):
        known = table.dropna(subset=[column])
        rows = []
        for _, row in known.iterrows():
            low, high = (
                None if pd.isna(row[f"{column}_{end}"]) else float(row[f"{column}_{end}"])
                for end in ("low", "high")
            )
            value = float(row[column])
            colour = style.ARM_COLOURS[1] if row["strong"] else style.MUTED
            rows.append(
                dots.Row(
                    label=str(row["operation"]),
                    dots=(dots.Dot(value=value, low=low, high=high, colour=colour),),
                    result=formatting.estimate(value, low, high, unit),
                    strong=bool(row["strong"]),
                )
            )
        if rows:
            panels.append(dots.Panel(rows=tuple(rows), axis=axis, title=title, from_zero=True))
    return dots.figure(panels, narrow=narrow)
