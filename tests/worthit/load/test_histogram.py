from __future__ import annotations

import numpy as np
import pytest

from worthit.load.requests.counters import RELATIVE_ERROR, Histogram

RNG = np.random.default_rng(7)
VALUES_NS = (RNG.lognormal(np.log(20e6), 1.5, 50_000)).astype(np.int64)


@pytest.mark.parametrize("percent", [0, 1, 50, 95, 99, 99.9, 100])
def test_percentiles_are_within_the_stated_error(percent: float) -> None:
    """Every percentile is within 0.25 % of numpy's own, taken from all the values."""
    histogram = Histogram()
    for part in np.array_split(VALUES_NS, 13):
        histogram.add(part)

    exact_ms = np.percentile(VALUES_NS, percent, method="inverted_cdf") / 1e6
    # the error is half a bucket of 0.5 %: a hair more than 0.25 % at the bucket's lower edge
    assert histogram.percentile_ms(percent) == pytest.approx(exact_ms, rel=RELATIVE_ERROR * 1.01)


def test_histograms_of_workers_add_up_exactly() -> None:
    """Two workers' histograms merged are the histogram of all their values."""
    whole, left, right, merged = Histogram(), Histogram(), Histogram(), Histogram()
    whole.add(VALUES_NS)
    left.add(VALUES_NS[::2])
    right.add(VALUES_NS[1::2])

    for part in (left, right):
        merged.merge(part)

    assert merged == whole


def test_small_times_are_not_rounded_to_nothing() -> None:
    """0.4 ms is shown as 0.4 ms, which Locust's own statistics would round to 0."""
    histogram = Histogram()
    histogram.add(np.full(100, 400_000))

    assert histogram.percentile_ms(50) == pytest.approx(0.4, rel=0.005)


def test_nothing_is_not_zero() -> None:
    """Without values there is no percentile."""
    assert Histogram().percentile_ms(50) is None
