"""Queues and scalability against published values."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from analysis.errors import NotEnoughDataError
from analysis.stats import scalability
from analysis.stats.intervals import Floats
from analysis.stats.queueing import erlang_b, erlang_c, servers_needed


@pytest.mark.parametrize(
    ("servers", "offered", "published"),
    [(132, 123.0, 0.3211), (12421, 12345.0, 0.3812), (14, 10.0, 0.174)],
)
def test_erlang_c_gives_the_published_values(
    servers: int, offered: float, published: float
) -> None:
    """Erlang C to the digits published (the last by pyworkforce); 12421 overflows factorials."""
    digits = len(str(published).split(".")[1])

    assert published == round(erlang_c(servers, offered), digits)


def test_erlang_b_gives_the_published_value() -> None:
    """132 servers at 123 Erlang lose 3.12 % of the calls."""
    assert erlang_b(132, 123.0) == pytest.approx(0.0312, abs=5.1e-5)


def test_two_published_values_are_wrong() -> None:
    """The published C(25, 20) = 0.261 and B(200, 180) = 0.012 of exciting-algorithms are wrong.

    The right ones come from the sums of Erlang's own formula, with logarithms of factorials.
    """

    def term(n: int, offered: float) -> float:
        return math.exp(n * math.log(offered) - math.lgamma(n + 1))

    tail = term(25, 20.0) * 25 / 5
    waits = tail / (sum(term(n, 20.0) for n in range(25)) + tail)
    lost = term(200, 180.0) / sum(term(n, 180.0) for n in range(201))

    assert erlang_c(25, 20.0) == pytest.approx(waits, rel=1e-9)
    assert erlang_b(200, 180.0) == pytest.approx(lost, rel=1e-9)
    assert (0.2091, 0.0103) == (round(waits, 4), round(lost, 4))


def test_a_pool_of_twelve_at_ten_erlang() -> None:
    """1000 queries/s of 10 ms on 12 connections: 44.9 % wait; on 10, all do."""
    assert (0.449, 1.0) == (round(erlang_c(12, 10.0), 3), erlang_c(10, 10.0))
    assert erlang_c(12, 0.5) == pytest.approx(3e-13, rel=0.5)


def test_the_servers_needed_are_the_fewest() -> None:
    """One server fewer would make more than the accepted share wait."""
    needed = servers_needed(1000.0, 100.0, p_wait=0.01)

    assert erlang_c(needed, 10.0) <= 0.01 < erlang_c(needed - 1, 10.0)


def test_no_server_is_refused() -> None:
    """A pool of nothing is not a pool."""
    with pytest.raises(NotEnoughDataError, match="at least one server"):
        erlang_c(0, 1.0)


SPEC_SDM91 = (
    np.array([1.0, 18.0, 36.0, 72.0, 108.0, 144.0, 216.0]),
    np.array([64.9, 995.9, 1652.4, 1853.2, 1828.9, 1775.0, 1702.2]),
)
"""SPEC SDM91 throughput as in smoeding/usl, after Gunther, Guerrilla Capacity Planning, 2007."""


def test_the_scalability_law_gives_the_published_fit() -> None:
    """Coefficients and peak of SPEC SDM91 as smoeding/usl publishes them for the same method."""
    found = scalability.fit(*SPEC_SDM91)

    assert found.alpha == pytest.approx(0.0277285, rel=1e-3)
    assert found.beta == pytest.approx(0.0001044, rel=1e-3)
    assert found.gamma == pytest.approx(89.995233, rel=1e-3)
    assert found.peak_concurrency == pytest.approx(96.51956, rel=1e-3)
    assert float(found.throughput(96.51956)) == pytest.approx(1884, rel=1e-3)
    assert found.limit == pytest.approx(3245.589, rel=1e-3)


def test_without_coherency_there_is_no_peak() -> None:
    """Throughput that only levels off has no peak: none is said, not one at 5e14."""
    loads = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])

    found = scalability.fit(loads, 100.0 * loads / (1.0 + 0.02 * (loads - 1.0)))

    assert (0.0, None) == (found.beta, found.peak_concurrency)
    assert found.alpha == pytest.approx(0.02, rel=1e-4)


def test_too_few_loads_are_refused() -> None:
    """Five loads do not hold three parameters, and the message says how many do."""
    with pytest.raises(NotEnoughDataError, match="needs 6 load levels, and this run has 5"):
        scalability.fit(np.arange(1.0, 6.0), np.arange(1.0, 6.0))


def test_a_peak_that_was_passed_has_an_interval() -> None:
    """A law that peaks at 96.5, measured to 216 with 1 % error of both axes, 60 runs.

    The peak is said in at least 50, and at least 45 of 60 intervals contain it (fewer would come
    by chance in 2 of 10^4 runs at 90 %).
    """
    rng = np.random.default_rng(96)
    loads = np.geomspace(1.0, 216.0, 8)
    law = 90 * loads / (1 + 0.0277 * (loads - 1) + 0.0001044 * loads * (loads - 1))
    truth = math.sqrt((1 - 0.0277) / 0.0001044)

    said = contained = 0
    for _ in range(60):
        error = np.exp(0.01 * rng.standard_normal((2, 8)))
        found = scalability.peak(loads * error[0], law * error[1])
        said += found.is_known
        contained += (found.low or math.inf) <= truth <= (found.high or 0.0)

    assert said >= 50
    assert contained >= 45


def test_a_law_that_misses_what_was_measured_says_no_peak() -> None:
    """SPEC SDM91 falls by 8 % at last, and its law is 28 % off at one user: no peak is said."""
    assert not scalability.peak(*SPEC_SDM91).is_known


@pytest.mark.parametrize(
    "curve",
    [
        pytest.param(lambda n: 100 * n, id="linear"),
        pytest.param(lambda n: 100 * n / (1 + 0.05 * (n - 1)), id="contention alone"),
        pytest.param(lambda n: np.minimum(100 * n, 2000), id="a full pool"),
        pytest.param(lambda n: 2000 * (1 - np.exp(-n / 20)), id="levelling off"),
    ],
)
def test_no_peak_is_said_of_what_never_falls(curve: Callable[[Floats], Floats]) -> None:
    """Eight loads, 3 % error of both axes, 60 runs: a peak in at most 9 (5 %; 10: 1 in 10^3)."""
    rng = np.random.default_rng(14)
    loads = np.geomspace(1.0, 60.0, 8)

    said = 0
    for _ in range(60):
        throughput = curve(loads) * np.exp(0.03 * rng.standard_normal(8))
        in_flight = loads * np.exp(0.03 * rng.standard_normal(8))
        said += scalability.peak(in_flight, throughput).is_known

    assert said <= 9
