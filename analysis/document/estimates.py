"""How an estimate is written: the one place, for the page, Markdown and the terminal.

A table writes ``20.1× [18.4, 21.9]``. A sentence says "20.1 times (18.4 to 21.9)" in three digits
at most, says the direction in words instead of by a sign or by a factor below 1, and a factor
below 2 as "19.0 % fewer". A bound is "at least 640×", and what is missing is a dash: its reason
stands in the estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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


IN_PROSE = 3
"""Digits of a number in a sentence; the tables have what the interval supports."""

IN_TIMES = 2.0
"""A factor from here on is said as so many times; below, in percent."""


def said(estimate: Estimate, noun: str = "") -> str:
    """An estimate in running text, ``0.30 % (0.20 to 0.40)``; ``noun`` stands for the unit."""
    unit = "count" if noun else estimate.unit
    words = said_point(replace(estimate, unit=unit)) + (f" {noun}" if noun else "")
    if estimate.value is None:
        return words
    if not estimate.has_interval:
        return f"{words} (no interval)"
    bounds = formatting.interval(
        estimate.value, estimate.low, estimate.high, unit, digits=IN_PROSE
    ).strip("[]")
    ends = bounds.replace("×", "").split(", ")
    if len(ends) == 2 and ends[0] == ends[1]:  # noqa: PLR2004 - low and high
        return words  # the interval is narrower than the last digit that a sentence shows
    return f"{words} ({' to '.join(ends)})"


def said_point(estimate: Estimate) -> str:
    """The value alone in running text, or that it is at least so much."""
    words = formatting.point(
        estimate.value, estimate.low, estimate.high, estimate.unit, digits=IN_PROSE
    )
    for unit, spoken in _SPOKEN.items():
        words = words.replace(unit, spoken)
    return words


def size(
    rows: Iterable[tuple[str | None, Estimate]], what: str, label: Callable[[str], str]
) -> str:
    """How many requests are behind figures, and in how many blocks or turns (``what``).

    Of each arm its first row counts. ``540 requests per arm in 18 blocks``, or where the arms
    differ ``540 requests in 5 blocks of off, 432 in 4 of on``.
    """
    of_arms: dict[str | None, Estimate] = {}
    for arm, one in rows:
        of_arms.setdefault(arm, one)
    sizes = [(formatting.count(one.n), formatting.count(one.blocks)) for one in of_arms.values()]
    (n, blocks), *others = sizes
    if all(other == (n, blocks) for other in others):
        return f"{n} requests {'per arm ' if others else ''}in {blocks} {what}"
    first, *rest = (
        (label(arm or ""), number, several)
        for arm, (number, several) in zip(of_arms, sizes, strict=True)
    )
    told = [f"{first[1]} requests in {first[2]} {what} of {first[0]}"]
    return ", ".join(told + [f"{number} in {several} of {arm}" for arm, number, several in rest])


def saving(factor: Estimate) -> Estimate:
    """A factor of reduction as it is said: as it is from 2 times on, else as the share saved."""
    value = factor.low if factor.value is None else factor.value
    if value is None or value >= IN_TIMES or value <= 0:
        return factor
    return factor.inverse().negated().shifted(1.0, "share")


def less(factor: Estimate, word: str = "less") -> str:
    """A factor of reduction in words, ``20.1 times less`` or ``19.0 % less``; empty for none.

    Below 1 it is more: of so many times, or of so many percent. Of exactly 1 it is as much.
    """
    value = factor.low if factor.value is None else factor.value
    if value is None or value <= 0:
        return ""
    if value == 1.0 and factor.low == factor.high:
        return "as many" if word == "fewer" else "as much"
    if value >= 1.0:
        return f"{said(saving(factor))} {word}"
    more = replace(factor, value=value).inverse()
    is_small = (more.value or 0.0) < IN_TIMES
    return f"{said(more.shifted(-1.0, 'share') if is_small else more)} more"
