"""How is an estimate said in a sentence?

Tables write ``20.1× [18.4, 21.9]``; a sentence says "20.1 times (18.4 to 21.9)", and says the
direction in words instead of by a sign or by a factor below 1. All take estimates as findings.json
holds them.

Answer of ``said``, ``point``, ``times_less``: the words. Of ``positive``: the estimate without its
sign. Of ``straddles``: whether no difference is inside of the interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.document import formatting

_SPOKEN = {"×": " times", "/request": "", "/s": " a second"}
"""Units as they are said in a sentence."""

Record = Mapping[str, Any]


def said(estimate: Record, noun: str = "") -> str:
    """An estimate in running text, ``0.30 % (0.20 to 0.40)``; ``noun`` stands for the unit."""
    unit = "count" if noun else estimate["unit"]
    words = point({**estimate, "unit": unit}) + (f" {noun}" if noun else "")
    if estimate["value"] is None:
        return words
    if estimate["low"] is None or estimate["high"] is None:
        return f"{words} (no interval)"
    bounds = formatting.interval(estimate["value"], estimate["low"], estimate["high"], unit)
    ends = bounds.strip("[]").replace("×", "").replace(", ", " to ")
    return f"{words} ({ends})"


def point(estimate: Record) -> str:
    """The value alone, or that it is at least so much."""
    text = formatting.point(estimate["value"], estimate["low"], estimate["high"], estimate["unit"])
    for unit, words in _SPOKEN.items():
        text = text.replace(unit, words)
    return text


def times_less(factor: Record) -> str:
    """A factor in words: so many times less, or more where it is below 1; empty for none."""
    value = factor["low"] if factor["value"] is None else factor["value"]
    if value is None or value <= 0:
        return ""
    if value >= 1.0:
        return f"{said(factor)} less"
    low, high = (None if not factor[end] else 1.0 / factor[end] for end in ("high", "low"))
    return f"{said({**factor, 'value': 1.0 / value, 'low': low, 'high': high})} more"


def straddles(estimate: Record, null: float) -> bool:
    """Whether the interval holds ``null``, which would be no difference."""
    low, high = estimate["low"], estimate["high"]
    return low is not None and high is not None and bool(low <= null <= high)


def positive(estimate: Record) -> Record:
    """The estimate without its sign."""
    if estimate["value"] >= 0:
        return estimate
    ends = {
        name: None if estimate[end] is None else -estimate[end]
        for name, end in (("value", "value"), ("low", "high"), ("high", "low"))
    }
    return {**estimate, **ends}
