"""How an estimate is written: the one place, for the page, Markdown and the terminal.

A table writes ``20.1× [18.4, 21.9]``. A sentence says "20.1 times (18.4 to 21.9)", and says the
direction in words instead of by a sign or by a factor below 1. A bound is "at least 640×", and
what is missing is a dash: its reason stands in the estimate.
"""

from __future__ import annotations

from dataclasses import replace

from analysis.document import formatting
from analysis.stats.intervals import Estimate

_SPOKEN = {"×": " times", "/request": "", "/s": " per second"}
"""Units as they are said in a sentence."""


def text(estimate: Estimate | None) -> str:
    """Value, unit and interval, as ``20.1× [18.4, 21.9]``; a dash for none."""
    if estimate is None:
        return formatting.MISSING
    return formatting.estimate(estimate.value, estimate.low, estimate.high, estimate.unit)


def point(estimate: Estimate) -> str:
    """Value and unit alone, with the digits that the interval supports."""
    return formatting.point(estimate.value, estimate.low, estimate.high, estimate.unit)


def brief(estimate: Estimate) -> str:
    """Value and unit for a title: two significant digits at most."""
    return formatting.brief(estimate.value, estimate.low, estimate.high, estimate.unit)


def said(estimate: Estimate, noun: str = "") -> str:
    """An estimate in running text, ``0.30 % (0.20 to 0.40)``; ``noun`` stands for the unit."""
    unit = "count" if noun else estimate.unit
    words = said_point(replace(estimate, unit=unit)) + (f" {noun}" if noun else "")
    if estimate.value is None:
        return words
    if not estimate.has_interval:
        return f"{words} (no interval)"
    bounds = formatting.interval(estimate.value, estimate.low, estimate.high, unit)
    ends = bounds.strip("[]").replace("×", "").replace(", ", " to ")
    return f"{words} ({ends})"


def said_point(estimate: Estimate) -> str:
    """The value alone in running text, or that it is at least so much."""
    words = point(estimate)
    for unit, spoken in _SPOKEN.items():
        words = words.replace(unit, spoken)
    return words


def times_less(factor: Estimate) -> str:
    """A factor in words: so many times less, or more where it is below 1; empty for none."""
    value = factor.low if factor.value is None else factor.value
    if value is None or value <= 0:
        return ""
    if value >= 1.0:
        return f"{said(factor)} less"
    return f"{said(replace(factor, value=value).inverse())} more"
