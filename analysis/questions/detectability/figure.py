"""How much would have to be run to know.

Requests needed with and without pairing, against what there was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from analysis.document import formatting
from analysis.drawing import dots, style


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """One line of the figure, in requests per arm."""

    label: str
    unpaired: int | None
    """Needed without pairing."""
    paired: int | None
    """Needed with pairing."""
    had: int
    """What this run had."""


def figure(lines: Sequence[Needed], *, narrow: bool = False) -> Figure:
    """Draw one row per line over a logarithmic axis of requests per arm."""
    is_paired = any(one.paired for one in lines)
    key = (
        ("needed without pairing" if is_paired else "needed", style.ARM_COLOURS[0], "o"),
        *((("needed with pairing", style.ARM_COLOURS[1], "s"),) if is_paired else ()),
        ("this run", style.INK, "hollow"),
    )
    panel = dots.Panel(rows=tuple(map(_row, lines)), axis="requests per arm", log=True)
    return dots.figure([panel], key=key, narrow=narrow)


def _row(one: Needed) -> dots.Row:
    marks = (
        (one.unpaired, style.ARM_COLOURS[0], "o", False),
        (one.paired, style.ARM_COLOURS[1], "s", False),
        (one.had, style.INK, "o", True),
    )
    return dots.Row(
        label=one.label,
        dots=tuple(
            dots.Dot(value=float(requests), colour=colour, marker=marker, hollow=hollow)
            for requests, colour, marker, hollow in marks
            if requests
        ),
        result=" → ".join(
            formatting.count(one_of) for one_of in (one.unpaired, one.paired) if one_of
        ),
    )
