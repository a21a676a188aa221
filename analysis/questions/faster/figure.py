"""Whether it got faster: by how many times each operation, and by how much the whole request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from analysis.document import estimates
from analysis.drawing import dots, style
from analysis.stats.intervals import Estimate

_COLOURS = {"faster": style.ARM_COLOURS[1], "slower": style.ARM_COLOURS[0]}
"""A decided difference carries colour, an undecided one is grey."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One line of the figure."""

    label: str
    estimate: Estimate
    """Known; of an operation baseline over treatment, of the request treatment minus baseline."""
    decision: str
    """``faster``, ``slower`` or ``not decided``."""
    strong: bool
    """Whether it is the line that the answer tells about."""


def figure(
    ratios: Sequence[Comparison], differences: Sequence[Comparison], *, narrow: bool = False
) -> Figure:
    """Draw ratios over a logarithmic axis, differences below over a linear one.

    Either may be empty.
    """
    panels = []
    if ratios:
        panels.append(
            dots.Panel(
                rows=tuple(map(_row, ratios)),
                axis="times faster (1 is no difference)",
                title="The operation",
                reference=1.0,
                log=True,
            )
        )
    if differences:
        panels.append(
            dots.Panel(
                rows=tuple(map(_row, differences)),
                axis="milliseconds (below 0 is faster)",
                title="The whole request",
                reference=0.0,
            )
        )
    return dots.figure(panels, narrow=narrow)


def _row(one: Comparison) -> dots.Row:
    """One comparison."""
    found = one.estimate
    colour = _COLOURS.get(one.decision, style.FAINT)
    return dots.Row(
        label=one.label,
        dots=(dots.Dot(value=found.value or 0.0, low=found.low, high=found.high, colour=colour),),
        result=estimates.text(found),
        strong=one.strong,
    )
