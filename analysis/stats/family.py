"""Which of many differences shown together are decided? Holm's method, family-wise.

Twenty intervals of 95 % hold their truths one by one; that one of them lies beside it happens in
most runs. What is said to differ is therefore decided for all rows that are shown together, so
that at most 5 % of the runs in which nothing differs contain any false word. The primary question,
named before the run, gets half of the 5 % for itself; what it does not need, the others inherit
(Holm, Scandinavian Journal of Statistics 6, 1979, with weights as in its section 4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from analysis.stats.intervals import CONFIDENCE, Estimate, decide

LEVEL = 1.0 - CONFIDENCE
"""Share of runs without any difference that may contain a false word."""

PRIMARY_WEIGHT = 0.5
"""Part of the level that is kept for the primary questions, where there are any."""

NOT_DECIDED = "not decided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """One row of a family."""

    estimate: Estimate
    null: float = 0.0
    """No difference: 0, or 1 of a ratio."""
    primary: bool = False
    """Whether it answers the question that was named before the run."""


def decisions(family: Sequence[Hypothesis]) -> list[str]:
    """For each row ``higher``, ``lower`` or ``not decided``, as ``decide`` of all together."""
    found = np.array([p_value(one.estimate, one.null) for one in family], np.float64)
    primary = np.array([one.primary for one in family], np.bool_)
    rejected = holm(found, primary)
    return [
        decide(one.estimate, one.null) if sure else NOT_DECIDED
        for one, sure in zip(family, rejected, strict=True)
    ]


def holm(
    p_values: NDArray[np.float64], primary: NDArray[np.bool_], level: float = LEVEL
) -> NDArray[np.bool_]:
    """Which hypotheses are rejected; a p-value that is no number is none, and rejects nothing."""
    rejected = np.zeros(len(p_values), dtype=np.bool_)
    tested = np.isfinite(p_values)
    primaries, others = tested & primary, tested & ~primary
    weights = np.ones(len(p_values))
    if primaries.any() and others.any():
        weights[primaries] = PRIMARY_WEIGHT / primaries.sum()
        weights[others] = (1.0 - PRIMARY_WEIGHT) / others.sum()
    for place in np.argsort(np.where(tested, p_values / weights, np.inf), kind="stable"):
        left = weights[tested & ~rejected].sum()
        if not tested[place] or p_values[place] > level * weights[place] / left:
            break
        rejected[place] = True
    return rejected


def p_value(estimate: Estimate, null: float = 0.0, *, plain: bool = False) -> float:
    """Two-sided p-value of "it is ``null``", read off the estimate's own interval.

    The interval is Student's t with one degree of freedom fewer than it has blocks, on the scale
    of logarithms where ``null`` is 1 and ``plain`` is not asked for. Not a number where there is
    no interval.
    """
    low, high, value = estimate.low, estimate.high, estimate.value
    if value is None and low is not None:
        # Of a rule of three the level at which its end would be the null; of others their own.
        return float(LEVEL ** (low / null)) if null > 0 else LEVEL
    if value is None or low is None or high is None:
        return math.nan
    if null == 1.0 and not plain:
        if min(value, low) <= 0:
            return math.nan
        value, low, high = math.log(value), math.log(low), math.log(high)
        null = 0.0
    reach = value - low if value > null else high - value
    if reach <= 0:
        return 1.0 if value == null else 0.0
    freedom = max(estimate.blocks - 1, 1)
    times = abs(value - null) / reach * float(stdtrit(freedom, 0.5 + CONFIDENCE / 2))
    return float(2.0 * stdtr(freedom, -times))
