"""Whether two arms are the same within a margin, and where that cannot be said."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats import weightstats

from analysis.checks.counts.cross_checks import roots
from analysis.questions.equivalence import answer as equivalence
from analysis.rundir.blocks import block_table
from analysis.rundir.run import Run


def test_equal_arms_are_the_same_within_a_margin(run: Run) -> None:
    """A 0.2 % change is the same within 1 %, and not within 0.1 %."""
    blocks = block_table(run.manifest, run.measured_requests, roots(run.measured_spans))
    wide, narrow = (
        equivalence.equivalence(run.manifest, run.measured_requests, blocks, margin=margin).rows[0]
        for margin in (0.01, 0.001)
    )

    assert ("same", "not decided") == (wide.decided, narrow.decided)


@pytest.mark.parametrize("shift", [-0.02, 0.0, 0.004, 0.0099, 0.03])
def test_two_one_sided_tests_are_those_of_statsmodels(shift: float) -> None:
    """The p-value is that of statsmodels' ttost_paired, wherever the truth lies."""
    random = np.random.default_rng(5)
    first = random.normal(5.0, 0.3, 12)
    second = first + shift + random.normal(0.0, 0.01, 12)
    expected = weightstats.ttost_paired(second, first, -0.00995, 0.00995)[0]

    assert equivalence.two_one_sided(second - first, 0.00995) == pytest.approx(expected, rel=1e-9)


def test_an_impossible_test_decides_nothing() -> None:
    """Too few pairs and values that are no numbers are "not decided", never "same"."""
    few = equivalence.same(np.array([1.0] * 5), np.array([1.0] * 5), margin=0.01)
    broken = equivalence.same(
        np.array([1.0] * 6), np.array([1.0, 2, np.nan, 1, 1, 1]), margin=0.01
    )

    assert (None, None) == (few.p_value, broken.p_value)
    assert (None, None) == (few.change.value, broken.change.value)
    assert "Not decided" in few.sentence
    assert "Not decided" in broken.sentence


def test_the_interval_that_is_drawn_is_the_one_that_decides(run: Run) -> None:
    """The same within a margin exactly if the 90 % interval lies within the margin's ends."""
    blocks = block_table(run.manifest, run.measured_requests, roots(run.measured_spans))
    decided = set()
    for margin in (0.0005, 0.001, 0.0017, 0.0018, 0.0019, 0.002, 0.003, 0.01):
        row = equivalence.equivalence(
            run.manifest, run.measured_requests, blocks, margin=margin
        ).rows[0]
        low, high = equivalence.margin_ends(margin)
        inside = low < (row.change.low or 0.0) and (row.change.high or 0.0) < high
        assert ("same" == row.decided) == inside
        decided.add(row.decided)

    assert {"same", "not decided"} == decided
