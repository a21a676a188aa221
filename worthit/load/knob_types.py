"""Kinds of knob: each takes text or a number, and refuses what no run can be made of.

Their names are shown to people, as in "whole number from 1 was expected".
"""

from __future__ import annotations

import math


def whole_number_from_1(value: str | float) -> int:
    """Return a count of something there must be one of."""
    number = int(value)
    if number < 1 or float(value) != number:
        raise ValueError(value)
    return number


def fraction_from_0_to_1(value: str | float) -> float:
    """Return a part of all."""
    number = float(value)
    if not 0.0 <= number <= 1.0:
        raise ValueError(value)
    return number


def number_from_0(value: str | float) -> float:
    """Return a finite number that is not negative."""
    number = float(value)
    if not 0.0 <= number < math.inf:
        raise ValueError(value)
    return number
