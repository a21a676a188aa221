"""The always-valid test: its formula, its level, and how soon it knows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from analysis.stats.sequential import by_round, decided_after, log_e

GAPS = np.array([-6.5, -7.1, -6.0, -6.9, -6.2, -6.6])


@pytest.mark.parametrize("shift", [0.0, 6.0, 6.5])
def test_the_evidence_is_the_likelihood_ratio_of_t(shift: float) -> None:
    """Noncentral t over effects N(0, 1), integrated by scipy, over the central t."""
    values = GAPS + shift
    t = float(stats.ttest_1samp(values, 0.0).statistic)
    mixed, _ = integrate.quad(
        lambda effect: stats.nct.pdf(t, 5, math.sqrt(6) * effect) * stats.norm.pdf(effect),
        -8.0,
        20.0 if t > 0 else 8.0,
    )

    assert math.exp(log_e(values)) == pytest.approx(mixed / stats.t.pdf(t, 5), rel=1e-3)


def test_looking_after_each_round_gives_few_false_alarms() -> None:
    """Nothing differs in two arms, 1,000 runs of 18 rounds: any decided in 5 % at most."""
    rng = np.random.default_rng(1)
    wrong = sum(
        any(after is not None for after in decided_after(list(rng.standard_t(3, (2, 18)))))
        for _ in range(1000)
    )

    assert wrong <= 50


def test_a_large_effect_is_known_in_half_of_the_rounds() -> None:
    """Three standard deviations of a round: known after 9 of 18 rounds or sooner, on average."""
    rng = np.random.default_rng(2)
    found = [decided_after([rng.normal(3.0, 1.0, 18)])[0] for _ in range(100)]

    assert None not in found
    assert np.mean([after for after in found if after is not None]) <= 9.0


def test_a_second_arm_makes_the_first_need_more() -> None:
    """Evidence of 45 is enough for one question, not for the best of two."""
    values = np.array([1.0, 2.0, 3.0, 1.5, 2.5, 1.2])
    values = values / values.std(ddof=1)
    low, high = -values.mean(), 10.0
    for _ in range(60):  # shifted so that the evidence is 45
        middle = (low + high) / 2
        low, high = (middle, high) if log_e(values + middle) < math.log(45) else (low, middle)
    noise = np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])

    assert decided_after([values + high]) == [6]
    assert decided_after([values + high, noise]) == [None, None]


def test_a_round_has_one_pair_of_each_level() -> None:
    """Levels that differ by 100 ms leave the scatter of rounds at 1 ms; half a round is left."""
    values = np.array([1.0, 2.0, 3.0, 101.0, 102.0])

    assert by_round(values, [0, 0, 0, 1, 1]).tolist() == [51.0, 52.0]
