"""By how much do the means of two sets of blocks differ that were not paired?

Load levels have no common draws and need not scatter alike, so Welch's t (Biometrika 34, 1947)
with the degrees of freedom of Satterthwaite (Biometrics 2, 1946).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import stdtrit

from analysis.stats.intervals import CONFIDENCE, Estimate, Floats, nothing

METHOD = "Welch's t over blocks"


def difference_of_means(
    first: Floats, second: Floats, *, unit: str, n: int, confidence: float = CONFIDENCE
) -> Estimate:
    """Mean of ``first`` minus mean of ``second``, one number a block, two-sided ``confidence``.

    Two blocks on each side are the least; with fewer there is a value and no interval.
    """
    one, two = (np.asarray(values, np.float64) for values in (first, second))
    one, two = one[np.isfinite(one)], two[np.isfinite(two)]
    if not (len(one) and len(two)):
        return nothing(unit, "no block holds a value", n=n)
    centre = float(one.mean() - two.mean())
    blocks = min(len(one), len(two))
    if blocks < 2:  # noqa: PLR2004 - one block has no scatter
        reason = "a single block has no scatter that could be seen"
        return Estimate(value=centre, unit=unit, n=n, blocks=blocks, reason=reason)
    parts = [float(each.var(ddof=1)) / len(each) for each in (one, two)]
    total = sum(parts)
    reach = 0.0
    if total > 0:
        below = sum(p**2 / (len(e) - 1) for p, e in zip(parts, (one, two), strict=True))
        reach = float(stdtrit(total**2 / below, 0.5 + confidence / 2)) * math.sqrt(total)
    return Estimate(
        value=centre,
        unit=unit,
        n=n,
        blocks=blocks,
        low=centre - reach,
        high=centre + reach,
        method=METHOD,
    )
