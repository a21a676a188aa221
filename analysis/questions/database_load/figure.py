"""What the database is asked: queries a request by statement, an arm a dot."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.document import formatting
from analysis.drawing import dots, style


def figure(table: pd.DataFrame, *, narrow: bool = False) -> Figure:
    """Draw a row a statement.

    ``table``: one row an arm and statement: ``arm`` (manifest's order), ``statement``,
    ``per_request``, ``low``, ``high``, ``cached`` (the statement in question); a row of ``total``
    comes last.
    """
    table = table.assign(arm=table["arm"].fillna(style.NO_ARM))
    arms = list(dict.fromkeys(table["arm"]))
    rows = []
    for statement in dict.fromkeys(table["statement"]):
        part = table[table["statement"] == statement]
        marks, words = [], []
        for _, row in part.iterrows():
            position = arms.index(str(row["arm"]))
            low, high = (None if pd.isna(row[key]) else float(row[key]) for key in ("low", "high"))
            value = float(row["per_request"])
            marks.append(
                dots.Dot(
                    value=value,
                    low=low,
                    high=high,
                    colour=style.arm_colour(position),
                    marker=style.arm_marker(position),
                )
            )
            words.append(formatting.point(value, low, high, "count"))
        result = " → ".join(words) if len(set(words)) > 1 else words[0]
        rows.append(
            dots.Row(
                label=statement,
                dots=tuple(marks),
                result=result,
                strong=bool(part["cached"].any()),
            )
        )
    panel = dots.Panel(rows=tuple(rows), axis="queries a request", from_zero=True)
    return dots.figure([panel], key=style.arm_key(arms), narrow=narrow)
