"""The most that removing each operation could give, over decades: from the model to the cache."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.document import formatting
from analysis.drawing import dots, style


def figure(table: pd.DataFrame, *, narrow: bool = False) -> Figure:
    """Draw a row an operation over a logarithmic axis of percent.

    ``table``: ``operation``, ``share`` with ``share_low`` and ``share_high`` (of 1), ``strong``.
    """
    rows = []
    for _, row in table[table["share"] > 0].iterrows():
        low, high = (
            None
            if pd.isna(row[f"share_{end}"]) or row[f"share_{end}"] <= 0
            else float(row[f"share_{end}"])
            for end in ("low", "high")
        )
        value = float(row["share"])
        colour = style.ARM_COLOURS[1] if row["strong"] else style.MUTED
        ends = [None if end is None else 100 * end for end in (low, high)]
        rows.append(
            dots.Row(
                label=str(row["operation"]),
                dots=(dots.Dot(value=100 * value, low=ends[0], high=ends[1], colour=colour),),
                result=formatting.estimate(value, low, high, "share"),
                strong=bool(row["strong"]),
            )
        )
    panel = dots.Panel(rows=tuple(rows), axis="percent of a request's time, at most", log=True)
    return dots.figure([panel], narrow=narrow)
