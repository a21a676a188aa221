"""CPU per request of each part, one dot per arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from analysis.document import estimates
from analysis.drawing import dots, style
from analysis.questions.cost.answer import CostRow


def figure(
    rows: Sequence[CostRow],
    labels: Mapping[str, str],
    arms: Sequence[str],
    *,
    narrow: bool = False,
) -> Figure:
    """Draw one row per part that computes, in the order in which they come."""
    lines = []
    for resource in dict.fromkeys(row.resource for row in rows):
        own = [row for row in rows if row.resource == resource and row.per_request.is_known]
        words = [estimates.point(row.per_request) for row in own]
        lines.append(
            dots.Row(
                label=labels[resource],
                dots=tuple(_dot(row, arms) for row in own),
                result=" → ".join(dict.fromkeys(words)),
            )
        )
    panel = dots.Panel(rows=tuple(lines), axis="CPU per request, ms", from_zero=True)
    return dots.figure([panel], key=style.arm_key(arms), narrow=narrow)


def _dot(row: CostRow, arms: Sequence[str]) -> dots.Dot:
    position = arms.index(row.arm) if row.arm in arms else 0
    return dots.Dot(
        value=row.per_request.value or 0.0,
        low=row.per_request.low,
        high=row.per_request.high,
        colour=style.arm_colour(position),
        marker=style.arm_marker(position),
    )
