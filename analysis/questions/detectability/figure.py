"""How much would have to be run to know.

Requests needed with and without pairing, against what there was.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.document import formatting
from analysis.drawing import dots, style


def figure(table: pd.DataFrame, *, narrow: bool = False) -> Figure:
    """Draw a row a quantity over a logarithmic axis of requests an arm.

    ``table``: ``label``, ``unpaired``, ``paired`` (requests needed, null when not known), ``had``
    (requests this run had).
    """
    key = (
        ("needed without pairing", style.ARM_COLOURS[0], "o"),
        ("needed with pairing", style.ARM_COLOURS[1], "s"),
        ("this run", style.INK, "hollow"),
    )
    rows = []
    for _, row in table.iterrows():
        marks = [
            dots.Dot(
                value=float(row[column]),
                colour=colour,
                marker="o" if sign == "hollow" else sign,
                hollow=sign == "hollow",
            )
            for column, (_, colour, sign) in zip(("unpaired", "paired", "had"), key, strict=True)
            if pd.notna(row[column]) and float(row[column]) > 0
        ]
        words = [formatting.count(_maybe(row[column])) for column in ("unpaired", "paired")]
        rows.append(dots.Row(label=str(row["label"]), dots=tuple(marks), result=" → ".join(words)))
    panel = dots.Panel(rows=tuple(rows), axis="requests an arm", log=True)
    return dots.figure([panel], key=key, narrow=narrow)


def _maybe(value: object) -> float | None:
    """A cell as a number or None."""
    return None if pd.isna(value) else float(value)  # type: ignore[call-overload,arg-type] # a cell is a scalar
