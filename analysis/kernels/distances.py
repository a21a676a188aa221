"""How far is each trace from all others? Sums of absolute differences without comparing pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.kernels.compiled import compiled


@compiled
def add_to_all_others(
    distance: NDArray[np.float64], values: NDArray[np.float64], order: NDArray[np.int64]
) -> None:
    """Add to each distance the sum of absolute differences of its value to all values.

    ``order`` sorts ``values``. With sorted x and prefix sums S the sum for x[i] is
    x[i] * i - S[i] + (S[n] - S[i]) - x[i] * (n - i): linear where pairs would be quadratic.
    """
    n = values.size
    whole = values.sum()
    below = 0.0
    for i in range(n):
        value = values[order[i]]
        distance[order[i]] += value * i - below + (whole - below) - value * (n - i)
        below += value
