"""Whether the request stayed the same: the difference against a margin named beforehand."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.document import formatting
from analysis.drawing import dots, style


def figure(table: pd.DataFrame, margin: tuple[float, float], *, narrow: bool = False) -> Figure:
    """Draw a row a quantity over an axis of percent, the margin shaded between its two ends.

    ``table``: ``label``, ``value``, ``low``, ``high`` (relative change, of 1; null without
    interval).
    """
    rows = []
    for _, row in table.iterrows():
        ends = [None if pd.isna(row[key]) else float(row[key]) for key in ("low", "high")]
        value = float(row["value"])
        shown = [None if end is None else 100 * end for end in ends]
        dot = dots.Dot(value=100 * value, low=shown[0], high=shown[1], colour=style.ARM_COLOURS[1])
        result = formatting.estimate(value, ends[0], ends[1], "share")
        rows.append(dots.Row(label=str(row["label"]), dots=(dot,), result=result, strong=True))
    panel = dots.Panel(
        rows=tuple(rows),
        axis="percent of the mean; shaded: the margin",
        reference=0.0,
        band=(100 * margin[0], 100 * margin[1]),
    )
    return dots.figure([panel], narrow=narrow)
