"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest

from analysis.document import formatting

THIN = "\u202f"


@pytest.mark.parametrize(
    ("uncertainty", "decimals"),
    [
        (0.119, 2),
        (0.354, 2),
        (0.367, 1),
        (0.949, 1),
        (0.95, 1),
        (0.999, 1),
        (12.0, 0),
        (354.0, -1),
        (367.0, -2),
    ],
)
def test_digits_follow_the_published_rule(uncertainty: float, decimals: int) -> None:
    """The Particle Data Group's own examples keep the places it says.

    0.827 +- 0.119 is 0.83 +- 0.12, +- 0.367 is 0.8 +- 0.4.
    """
    assert decimals == formatting.decimals_for(uncertainty)


def test_an_uncertainty_of_nothing_gives_no_digits() -> None:
    """Zero, negative and infinite uncertainties are refused in words."""
    for nothing in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="expected a positive number"):
            formatting.decimals_for(nothing)


@pytest.mark.parametrize(
    ("value", "low", "high", "unit", "text"),
    [
        (20.123, 18.4, 21.9, "ratio", "20.1× [18.4, 21.9]"),
        (0.0021, 0.0020, 0.00223, "share", f"0.210{THIN}% [0.200, 0.223]"),
        (3012.2, 2990.0, 3030.0, "ms", f"3.012{THIN}s [2.990, 3.030]"),
        (12345.6, 12000.0, 12700.0, "per_s", f"12{THIN}350/s [12{THIN}000, 12{THIN}700]"),
        (-0.04, -0.9, 0.9, "ms", f"0{THIN}µs [−900, 900]"),
        (5.0, None, None, "ms", f"5{THIN}ms (no interval)"),
        (None, 1.0, 2.0, "ms", "–"),
        (math.nan, 1.0, 2.0, "ms", "–"),
    ],
)
def test_an_estimate_shows_what_its_interval_supports(
    value: float | None, low: float | None, high: float | None, unit: str, text: str
) -> None:
    """Value and both ends stand in one unit, rounded to one place.

    Without a value there is a dash, never 0.
    """
    assert text == formatting.estimate(value, low, high, unit)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.00004, "ms", f"40{THIN}ns"),
        (0.4, "ms", f"400{THIN}µs"),
        (999.9, "ms", f"1.00{THIN}s"),
        (61000.0, "ms", f"61{THIN}s"),
        (1536.0, "bytes", f"1.50{THIN}KiB"),
        (3440.0, "count", f"3{THIN}440"),
        (0.0, "ms", f"0{THIN}ms"),
    ],
)
def test_a_number_moves_to_the_unit_that_fits(value: float, unit: str, text: str) -> None:
    """Durations and sizes are written with one to three digits before the point."""
    assert text == formatting.plain(value, unit)


def test_a_value_near_zero_is_read_on_the_scale_of_its_interval() -> None:
    """No 0 µs [−20 000, 20 000]."""
    assert formatting.estimate(-0.0004, -20.0, 20.0, "ms") == "0\u202fms [−20, 20]"
