from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from worthit.load.schedule.arrival import GOLDEN_GAMMA, mix, stratum_of, uniform, zipf_rank

DRAWS = range(20_000)


def test_the_mixer_is_splitmix64() -> None:
    """Seed 1234567 gives the outputs that Rosetta Code publishes for SplitMix64."""
    state = (1234567 + np.arange(1, 4).astype(object) * GOLDEN_GAMMA) % 2**64

    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [mix(int(value)) for value in state] == published


def test_uniform_numbers_are_uniform() -> None:
    """The hash of neighbouring draws passes a Kolmogorov-Smirnov test for uniformity."""
    values = [uniform(7, draw, "user") for draw in DRAWS]

    assert stats.kstest(values, "uniform").pvalue > 0.01


def test_purposes_and_seeds_are_independent() -> None:
    """One draw's numbers for two purposes, or from two seeds, are uncorrelated."""
    user = np.array([uniform(7, draw, "user") for draw in DRAWS])
    message = np.array([uniform(7, draw, "message") for draw in DRAWS])
    other_seed = np.array([uniform(8, draw, "user") for draw in DRAWS])

    limit = 4 / np.sqrt(len(DRAWS))
    assert abs(np.corrcoef(user, message)[0, 1]) < limit
    assert abs(np.corrcoef(user, other_seed)[0, 1]) < limit
    assert abs(np.corrcoef(user[1:], user[:-1])[0, 1]) < limit


def test_the_same_draw_is_the_same_number_everywhere() -> None:
    """The number of (seed, draw, purpose) is fixed: a change would unpair recorded runs."""
    assert uniform(7, 0, "user") == uniform(7, 0, "user")
    assert f"{uniform(7, 12_003_000_042, 'personality'):.12f}" == "0.791755714782"


def test_zipf_ranks_follow_the_law() -> None:
    """Ranks drawn by Zipf's law pass a chi-squared test against 1 / (rank + 1)."""
    ranks = [zipf_rank(uniform(7, draw, "p"), count=10, exponent=1.0) for draw in DRAWS]
    weights = 1 / np.arange(1, 11)

    expected = weights / weights.sum() * len(DRAWS)
    assert stats.chisquare(np.bincount(ranks, minlength=10), expected).pvalue > 0.01


@pytest.mark.parametrize("fraction", [0.05, 1 / 3, 0.013, 0.5, 1.0])
def test_the_chosen_are_as_many_as_wanted_and_numbered_without_gaps(fraction: float) -> None:
    """A fraction of the ordinals is chosen, numbered 0, 1, 2, ... without a gap."""
    numbers = [stratum_of(7, ordinal, fraction, "cold") for ordinal in DRAWS]

    chosen = [number for number in numbers if number is not None]
    assert chosen == list(range(len(chosen)))
    assert len(chosen) == pytest.approx(fraction * len(DRAWS), abs=1.01)


def test_none_is_chosen_of_a_fraction_of_nothing() -> None:
    """A fraction of 0 chooses nobody."""
    assert [stratum_of(7, ordinal, 0.0, "cold") for ordinal in range(100)] == [None] * 100


def test_where_the_chosen_lie_is_random() -> None:
    """Places of the chosen within their runs of 20 are uniform, not every twentieth."""
    places = [n % 20 for n in DRAWS if stratum_of(7, n, 0.05, "cold") is not None]

    assert stats.chisquare(np.bincount(places, minlength=20)).pvalue > 0.01
