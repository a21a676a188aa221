"""The law's residual carries the error of every count in it, in both arms."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.questions.cache_law.answer import residual
from analysis.stats.intervals import Estimate

BLOCKS, REQUESTS, REPEATS = 8, 300, 400


def measured(rng: np.random.Generator, *, spread: float, factor: float = 1.0) -> Estimate:
    """A run under the law: lookups per request with a mood by block, 5 % of them miss in bursts.

    With ``factor`` every miss makes so many queries. Both arms have their own moods.
    """
    mood_before, mood = rng.gamma(1 / spread**2, spread**2, (2, BLOCKS))
    before = rng.poisson(1.5 * REQUESTS * mood_before).astype(np.float64)
    lookups = rng.poisson(1.5 * REQUESTS * mood).astype(np.float64)
    misses = rng.binomial(lookups.astype(np.int64), 0.05 * rng.gamma(3.0, 1 / 3.0, BLOCKS))
    sent = np.full(BLOCKS, float(REQUESTS))
    queries = rng.poisson(factor * misses) if factor != 1.0 else misses
    return residual(
        misses=misses.astype(np.float64), queries=queries.astype(np.float64), lookups=lookups,
        requests=sent, before=before, requests_before=sent, n=2 * BLOCKS * REQUESTS,
    )  # fmt: skip


@pytest.mark.parametrize("spread", [0.02, 0.1, 0.3])
def test_under_a_true_law_at_most_5_percent_are_said_to_depart(spread: float) -> None:
    """Every miss makes one query: the interval leaves out 0 in at most 5 % of 400 runs."""
    rng = np.random.default_rng(15)

    found = [measured(rng, spread=spread) for _ in range(REPEATS)]
    departs = sum(not one.includes(0.0) for one in found)

    assert departs <= 0.05 * REPEATS
    assert all(one.has_interval for one in found)


def test_a_third_of_the_queries_missing_is_found() -> None:
    """Misses that make 0.65 queries each reduce half as much again, and nearly all runs say so."""
    rng = np.random.default_rng(16)

    found = [measured(rng, spread=0.05, factor=0.65) for _ in range(100)]

    assert sum(one.low is not None and one.low > 0 for one in found) >= 90
    assert np.median([one.value for one in found]) == pytest.approx(1 / 0.65 - 1, rel=0.1)
