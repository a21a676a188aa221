"""Whether it got faster: by how many times each operation, and by how much the whole request."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.document import formatting
from analysis.drawing import dots, style

_COLOURS = {"faster": style.ARM_COLOURS[1], "slower": style.ARM_COLOURS[0]}
"""A decided difference carries colour, an undecided one is grey."""


def figure(ratios: pd.DataFrame, differences: pd.DataFrame, *, narrow: bool = False) -> Figure:
    """Draw ratios over a logarithmic axis, differences below over a linear one.

    Either may be empty.

    Both: ``label``, ``value``, ``low``, ``high`` (null without interval), ``decision``
    (``faster``, ``slower`` or other words), ``strong``. ``ratios`` are baseline over treatment,
    ``differences`` treatment minus baseline in ms.
    """
    panels = []
    if not ratios.empty:
        rows = tuple(_row(row, "ratio") for _, row in ratios.iterrows())
        panels.append(
            dots.Panel(
                rows=rows,
                axis="times faster (1 is no difference)",
                title="The operation",
                reference=1.0,
                log=True,
            )
        )
    if not differences.empty:
        rows = tuple(_row(row, "ms") for _, row in differences.iterrows())
        panels.append(
            dots.Panel(
                rows=rows,
                axis="milliseconds (below 0 is faster)",
                title="The whole request",
                reference=0.0,
            )
        )
    return dots.figure(panels, narrow=narrow)


def _row(row: pd.Series[Any], unit: str) -> dots.Row:
    """One comparison."""
    low, high = (None if pd.isna(row[key]) else float(row[key]) for key in ("low", "high"))
    value = float(row["value"])
    colour = _COLOURS.get(str(row["decision"]), style.FAINT)
    return dots.Row(
        label=str(row["label"]),
        dots=(dots.Dot(value=value, low=low, high=high, colour=colour),),
        result=formatting.estimate(value, low, high, unit),
        strong=bool(row["strong"]),
    )
