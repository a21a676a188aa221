"""The most that removing each operation could give, over decades: from the model to the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from analysis.document import estimates
from analysis.drawing import dots, style
from analysis.stats.intervals import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Most:
    """One line of the figure."""

    operation: str
    share: Estimate
    """Of a request's time."""
    strong: bool
    """Whether it is the operation that the answer tells about."""


def figure(operations: Sequence[Most], *, narrow: bool = False) -> Figure:
    """Draw one row per operation over a logarithmic axis of percent, which has no place for 0."""
    rows = tuple(map(_row, (one for one in operations if (one.share.value or 0.0) > 0)))
    panel = dots.Panel(rows=rows, axis="percent of a request's time, at most", log=True)
    return dots.figure([panel], narrow=narrow)


def _row(one: Most) -> dots.Row:
    percent = one.share.scaled(100.0, "percent")
    low, high = (end if (end or 0.0) > 0 else None for end in (percent.low, percent.high))
    colour = style.ARM_COLOURS[1] if one.strong else style.MUTED
    return dots.Row(
        label=one.operation,
        dots=(dots.Dot(value=percent.value or 0.0, low=low, high=high, colour=colour),),
        result=estimates.text(one.share),
        strong=one.strong,
    )
