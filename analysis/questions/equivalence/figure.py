"""Whether the request stayed the same: the difference against a margin named beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from analysis.document import estimates
from analysis.drawing import dots, style
from analysis.stats.intervals import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One line of the figure."""

    what: str
    estimate: Estimate
    """Known; relative, with its 90 % interval."""


def figure(
    changes: Sequence[Change], margin: tuple[float, float], *, narrow: bool = False
) -> Figure:
    """Draw one row per change over an axis of percent, the margin shaded between its two ends."""
    panel = dots.Panel(
        rows=tuple(map(_row, changes)),
        axis="percent of the mean; shaded: the margin",
        reference=0.0,
        band=(100 * margin[0], 100 * margin[1]),
    )
    return dots.figure([panel], narrow=narrow)


def _row(one: Change) -> dots.Row:
    percent = one.estimate.scaled(100.0, "percent")
    dot = dots.Dot(
        value=percent.value or 0.0,
        low=percent.low,
        high=percent.high,
        colour=style.ARM_COLOURS[1],
    )
    return dots.Row(label=one.what, dots=(dot,), result=estimates.text(one.estimate), strong=True)
