"""Families of differences: Holm's method, and how often a run without any says one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.stats import intervals
from analysis.stats.family import Hypothesis, decisions, holm, p_value


def test_holm_is_that_of_statsmodels() -> None:
    """Without a primary question the same hypotheses are rejected as by ``multipletests``."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        p_values = rng.beta(0.2, 3.0, 9)
        expected = multipletests(p_values, alpha=0.05, method="holm")[0]

        assert list(expected) == list(holm(p_values, np.zeros(9, dtype=bool)))


def test_a_primary_question_keeps_half_of_the_level() -> None:
    """0.02 is enough for the primary and for none of nine others; once it is decided they gain."""
    p_values, primary = np.array([0.02, *[0.02] * 9]), np.arange(10) == 0

    assert [True, *[False] * 9] == list(holm(p_values, primary))
    assert [True, True] == list(holm(np.array([0.02, 0.04]), np.array([True, False])))
    assert [False, False] == list(holm(np.array([0.03, 0.04]), np.array([True, False])))


def test_a_p_value_is_that_of_the_interval() -> None:
    """Read off the interval it equals scipy's own, of differences and of ratios."""
    values = np.array([0.4, 1.2, -0.3, 0.9, 1.1, 0.2, 0.7])
    ones = np.full(7, 50.0)
    ratios, _ = intervals.pooled_means((np.exp(values) * 50, ones), (ones, ones), n=7)

    assert p_value(intervals.mean(values, unit="ms", n=7)) == pytest.approx(
        stats.ttest_1samp(values, 0.0).pvalue
    )
    assert np.isnan(p_value(intervals.nothing("ms", "no")))
    assert 0 < p_value(ratios, 1.0) < 0.1


@pytest.mark.parametrize("pairs", [6, 18])
def test_a_run_without_a_difference_says_none(pairs: int) -> None:
    """Of 400 families of 12 rows at most 5 % hold a false word (20; 36 has a chance of 10^-4).

    One by one they would in 40 %.
    """
    rng = np.random.default_rng(2)
    false = single = 0
    for _ in range(400):
        rows = [intervals.mean(rng.normal(0.0, 1.0, pairs), unit="ms", n=pairs) for _ in range(12)]
        family = [Hypothesis(estimate=row, primary=i == 0) for i, row in enumerate(rows)]
        false += any(word != "not decided" for word in decisions(family))
        single += any(intervals.decide(row) != "not decided" for row in rows)

    assert false <= 36
    assert single > 120


def test_a_planted_difference_is_found_among_equal_ones() -> None:
    """5 sd of a pair in 12 pairs is decided in every run, whether or not it is the primary."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        rows = [intervals.mean(rng.normal(0.0, 1.0, 12), unit="ms", n=12) for _ in range(11)]
        rows.append(intervals.mean(rng.normal(5.0, 1.0, 12), unit="ms", n=12))

        assert "higher" == decisions([Hypothesis(estimate=row) for row in rows])[-1]
