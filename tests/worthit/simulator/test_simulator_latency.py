"""How long simulated calls take."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from worthit.simulator.latency import PROFILES, LogNormal, mix, uniform

DRAWS = 20_000


def test_the_ends_are_the_5th_and_95th_percentile() -> None:
    """A log-normal named by two durations has them as its percentiles; scipy knows the rest."""
    drawn = LogNormal(low_s=2.0, high_s=4.0)
    sigma = np.log(2) / (2 * stats.norm.ppf(0.95))
    oracle = stats.lognorm(s=sigma, scale=np.sqrt(8.0))

    for share in (0.05, 0.25, 0.5, 0.95, 0.999):
        assert drawn.at(share) / 1e9 == pytest.approx(oracle.ppf(share), rel=1e-9)
    assert drawn.at(0.05) == pytest.approx(2e9)
    assert drawn.at(0.95) == pytest.approx(4e9)


def test_the_seed_profile_is_log_normal_over_draws() -> None:
    """20,000 draws pass for a sample of what was promised (Kolmogorov-Smirnov)."""
    chat = PROFILES["seed"].chat
    assert chat is not None
    seconds = [chat.at(uniform(7, 1, draw)) / 1e9 for draw in range(DRAWS)]
    sigma = np.log(2) / (2 * stats.norm.ppf(0.95))

    found = stats.kstest(seconds, stats.lognorm(s=sigma, scale=np.sqrt(8.0)).cdf)

    assert found.pvalue > 0.001


def test_neighbouring_draws_are_independent() -> None:
    """Draws that follow one another, as a block's do, are not correlated."""
    values = np.array([uniform(7, 1, draw) for draw in range(DRAWS)])

    found = stats.pearsonr(values[:-1], values[1:])

    assert found.pvalue > 0.001


def test_kinds_and_seeds_draw_apart() -> None:
    """The same draw gives unrelated numbers for another kind of call and another seed."""
    one = np.array([uniform(7, 1, draw) for draw in range(DRAWS)])

    for other in ((7, 2), (8, 1)):
        values = np.array([uniform(*other, draw) for draw in range(DRAWS)])
        assert abs(np.corrcoef(one, values)[0, 1]) < 4 / np.sqrt(DRAWS)


def test_numbers_stay_inside_the_open_interval() -> None:
    """No draw gives 0 or 1, where a normal has no quantile."""
    values = [uniform(seed, draw) for seed in (0, (1 << 63) - 1) for draw in (0, (1 << 63) - 1)]

    assert all(0.0 < value < 1.0 for value in values)


def test_the_hash_is_splitmix64() -> None:
    """One word from state 0 is the generator's published first output for that seed."""
    # Java's SplittableRandom(0): its first nextLong, and every other implementation's.
    assert mix(0) == 0xE220A8397B1DCDAF
