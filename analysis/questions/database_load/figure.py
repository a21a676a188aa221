"""What the database is asked: queries per request by statement, one dot per arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from analysis.document import estimates
from analysis.drawing import dots, style
from analysis.stats.intervals import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One statement in one arm."""

    arm: str
    statement: str
    per_request: Estimate
    cached: bool
    """Whether it is the statement in question."""


def figure(marks: Sequence[Mark], arms: Sequence[str], *, narrow: bool = False) -> Figure:
    """Draw one row per statement, in the order in which they come."""
    rows = []
    for statement in dict.fromkeys(mark.statement for mark in marks):
        own = [mark for mark in marks if mark.statement == statement]
        words = [estimates.point(mark.per_request) for mark in own]
        rows.append(
            dots.Row(
                label=statement,
                dots=tuple(_dot(mark, arms.index(mark.arm)) for mark in own),
                result=" → ".join(words) if len(set(words)) > 1 else words[0],
                strong=any(mark.cached for mark in own),
            )
        )
    panel = dots.Panel(rows=tuple(rows), axis="queries per request", from_zero=True)
    return dots.figure([panel], key=style.arm_key(arms), narrow=narrow)


def _dot(mark: Mark, position: int) -> dots.Dot:
    return dots.Dot(
        value=mark.per_request.value or 0.0,
        low=mark.per_request.low,
        high=mark.per_request.high,
        colour=style.arm_colour(position),
        marker=style.arm_marker(position),
    )
