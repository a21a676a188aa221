"""One request as a waterfall.

A bar a span, dark where it is on the critical path, pale where it is not.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.document import formatting
from analysis.drawing import style
from analysis.drawing.labels import fitted

MAX_ROWS = 40
"""More spans than this are no picture any more.

The longest are kept and the caption says how many are not.
"""

_ROW_IN = 0.235
_ROW_IN_NARROW = 0.40

_LETTERS = 30
"""Letters of a span's name left of the axes; an indent takes the room of 5/3."""


def figure(
    spans: pd.DataFrame, sections: pd.DataFrame, *, strong: str | None = None, narrow: bool = False
) -> Figure:
    """Draw the spans in the order given.

    Parameters
    ----------
    spans
        One row a span in drawing order: ``span_id``, ``name``, ``depth`` (root 0), ``start_ms``
        (from the root's start), ``duration_ms`` (null when it never ended).
    sections
        ``span_id``, ``start_ms``, ``end_ms``: pieces of the critical path.
    strong
        Name of the operation in question.
    narrow
        For a phone.
    """
    row_in = _ROW_IN_NARROW if narrow else _ROW_IN
    height = len(spans) * row_in + 0.5
    canvas = style.canvas(height, narrow=narrow)
    left, right = (0.015, 0.80) if narrow else (0.27, 0.90)
    axes = style.quiet(
        canvas.add_axes((left, 0.42 / height, right - left, 1 - 0.5 / height)), grid="x"
    )
    end = float((spans["start_ms"] + spans["duration_ms"]).max())
    for row in range(len(spans)):
        y = -row - (0.72 if narrow else 0.5)
        _draw_span(axes, spans.iloc[row], sections, y, strong=strong, narrow=narrow)
    axes.set(
        ylim=(-len(spans), 0),
        xlim=(0, end * 1.001 or 1.0),
        yticks=[],
        xlabel="milliseconds from the request's start",
    )
    axes.locator_params(axis="x", nbins=4 if narrow else 7)
    return canvas


def _draw_span(
    axes: Axes,
    span: pd.Series[Any],
    sections: pd.DataFrame,
    y: float,
    *,
    strong: str | None,
    narrow: bool,
) -> None:
    """One span: its whole time pale, its pieces of the critical path dark."""
    is_strong = bool(span["name"] == strong)
    colour = style.ARM_COLOURS[1] if is_strong else style.MUTED
    look: dict[str, Any] = {"height": 0.34 if narrow else 0.56, "color": colour, "linewidth": 0}
    duration = 0.0 if pd.isna(span["duration_ms"]) else float(span["duration_ms"])
    axes.barh(y, duration, left=float(span["start_ms"]), alpha=0.28, **look)
    own = sections[sections["span_id"] == span["span_id"]]
    axes.barh([y] * len(own), own["end_ms"] - own["start_ms"], left=own["start_ms"], **look)
    place = (str(span["name"]), int(span["depth"]), float(span["duration_ms"]))
    _write(axes, y, *place, strong=is_strong, narrow=narrow)


def _write(
    axes: Axes, y: float, name: str, depth: int, duration_ms: float, *, strong: bool, narrow: bool
) -> None:
    """The span's name, indented by depth, and how long it took."""
    across = axes.get_yaxis_transform()
    place = axes.get_position()
    weight = "bold" if strong else "normal"
    indent = "\u2003" * min(depth, 6)
    if narrow:
        axes.text(
            0,
            y + 0.42,
            indent + name,
            transform=across,
            fontsize=style.SMALL_PT - 0.5,
            color=style.INK,
            va="center",
            fontweight=weight,
        )
    else:
        axes.text(
            -(place.x0 - 0.008) / place.width,
            y,
            indent + fitted(name, _LETTERS - 5 * len(indent) // 3),
            transform=across,
            fontsize=style.SMALL_PT,
            color=style.INK,
            va="center",
            fontweight=weight,
        )
    axes.text(
        1.02,
        y,
        formatting.plain(duration_ms, "ms"),
        transform=across,
        fontsize=style.SMALL_PT,
        color=style.MUTED,
        va="center",
    )
