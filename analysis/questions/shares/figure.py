"""Where one request's time goes: an operation a row, an arm a bar, emulated time pale."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.document import formatting
from analysis.drawing import style

_BAR_IN, _GAP_IN, _NARROW_NAME_IN = 0.17, 0.16, 0.2


def figure(table: pd.DataFrame, *, narrow: bool = False) -> Figure:
    """Draw a group of bars an operation, the longest operation on top.

    ``table``: one row an arm and operation: ``arm`` (manifest's order), ``operation``,
    ``critical_ms`` (mean a request on the critical path), ``emulated_ms`` (of that, null when not
    known), ``share``, ``low``, ``high``, ``cached``.
    """
    arms = list(dict.fromkeys(table["arm"]))
    order = table.groupby("operation")["critical_ms"].max().sort_values(ascending=False).index
    group_in = len(arms) * _BAR_IN + _GAP_IN + (_NARROW_NAME_IN if narrow else 0.0)
    head_in = 0.5 if narrow else 0.32
    height = len(order) * group_in + head_in + 0.5
    canvas = style.canvas(height, narrow=narrow)
    left, right = (0.015, 0.48) if narrow else (0.27, 0.76)
    axes = canvas.add_axes((left, 0.5 / height, right - left, 1 - (head_in + 0.5) / height))
    style.quiet(axes, grid="x")
    for place, operation in enumerate(order):
        top = -place * group_in - (_NARROW_NAME_IN if narrow else 0.0)
        _draw_operation(axes, table[table["operation"] == operation], arms, top, narrow=narrow)
    axes.set(
        ylim=(-len(order) * group_in, 0),
        yticks=[],
        xlim=(0, float(table["critical_ms"].max()) * 1.02),
    )
    axes.set_xlabel(
        "milliseconds of one request"
        if narrow
        else "milliseconds of one request, on its critical path"
    )
    axes.locator_params(axis="x", nbins=4 if narrow else 7)
    _draw_key(canvas, arms, 1 - 0.14 / height, narrow=narrow)
    return canvas


def _draw_operation(
    axes: Axes, rows: pd.DataFrame, arms: list[str], top: float, *, narrow: bool
) -> None:
    """One operation's bars, its name left (above on a phone), share and interval right."""
    strong = bool(rows["cached"].any())
    place = axes.get_position()
    left, y = -(place.x0 - 0.008) / place.width, -len(arms) * _BAR_IN / 2
    axes.text(
        0.0 if narrow else left,
        top + (0.03 if narrow else y),
        str(rows["operation"].iloc[0]),
        transform=axes.get_yaxis_transform(),
        fontsize=style.SMALL_PT if narrow else style.TEXT_PT,
        color=style.INK,
        fontweight="bold" if strong else "normal",
        va="bottom" if narrow else "center",
    )
    for _, row in rows.iterrows():
        position = arms.index(str(row["arm"]))
        _draw_bar(axes, row, top - (position + 0.5) * _BAR_IN, style.arm_colour(position))


def _draw_bar(axes: Axes, row: pd.Series[Any], y: float, colour: str) -> None:
    """One arm's bar: what is measured full, what is emulated pale; its share beside it."""
    whole = float(row["critical_ms"])
    emulated = 0.0 if pd.isna(row["emulated_ms"]) else min(float(row["emulated_ms"]), whole)
    measured = whole - emulated
    look: dict[str, Any] = {"height": _BAR_IN * 0.82, "color": colour, "linewidth": 0}
    axes.barh(y, measured, **look)
    axes.barh(y, emulated, left=measured, alpha=0.35, **look)
    low, high = (None if pd.isna(row[key]) else float(row[key]) for key in ("low", "high"))
    text = formatting.estimate(float(row["share"]), low, high, "share")
    style.beside(axes, y, text, colour=colour, bold=bool(row["cached"]))


def _draw_key(canvas: Figure, arms: list[str], y: float, *, narrow: bool) -> None:
    """Which colour is which arm, and what pale means."""
    x = 0.015 if narrow else 0.008
    for position, arm in enumerate(arms):
        text = style.arm_label(arm)
        canvas.text(
            x,
            y,
            f"■ {text}",
            color=style.arm_colour(position),
            fontweight="bold",
            fontsize=style.SMALL_PT,
            va="center",
        )
        x += (0.024 if narrow else 0.0115) * (len(text) + 4)
    if narrow:
        x, y = 0.015, y - 0.19 / canvas.get_figheight()
    canvas.text(
        x,
        y,
        "full: measured, pale: emulated",
        color=style.MUTED,
        fontsize=style.SMALL_PT,
        va="center",
    )
