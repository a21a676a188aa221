from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests.support.load.load_plans import a_block, a_plan
from worthit.contract.plan import Plan
from worthit.load.schedule.schedule import Schedule, first_ordinals, planned_counts

SECOND_NS = 1_000_000_000


def all_offsets(plan: Plan, step_ns: int = 10**15) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return all arrivals, read in windows of this length."""
    schedule = Schedule(plan)
    end = round(plan.end_s * SECOND_NS)
    parts = [
        window.offsets_ns
        for limit in range(step_ns, end + step_ns, step_ns)
        for window in schedule.until(min(limit, end))
    ]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def test_poisson_gaps_are_exponential() -> None:
    """Gaps of a Poisson schedule pass a Kolmogorov-Smirnov test against the exponential law."""
    gaps = np.diff(all_offsets(a_plan())) / SECOND_NS

    found = stats.kstest(gaps, stats.expon(scale=1 / 200.0).cdf)

    assert found.pvalue > 0.01


def test_the_test_of_the_gaps_can_fail() -> None:
    """The same Kolmogorov-Smirnov test refuses even gaps, and Poisson gaps of another rate."""
    even = np.diff(all_offsets(a_plan(arrivals="even"))) / SECOND_NS
    poisson = np.diff(all_offsets(a_plan())) / SECOND_NS

    assert stats.kstest(even, stats.expon(scale=1 / 200.0).cdf).pvalue < 1e-6
    assert stats.kstest(poisson, stats.expon(scale=1 / 220.0).cdf).pvalue < 1e-6


def test_poisson_counts_vary_as_poisson_does() -> None:
    """Counts of one-second bins have a variance near their mean: index of dispersion about 1."""
    counts = np.bincount(all_offsets(a_plan(a_block(duration_s=1000.0))) // SECOND_NS)

    dispersion = counts.var(ddof=1) / counts.mean()

    # (n - 1) times the index follows chi-squared with n - 1 degrees of freedom
    low, high = stats.chi2(len(counts) - 1).interval(0.999) / np.float64(len(counts) - 1)
    assert low < dispersion < high


def test_even_arrivals_are_a_metronome() -> None:
    """Even arrivals are exactly one gap apart, from the block's start, and as many as wanted."""
    offsets = all_offsets(a_plan(a_block(rate_per_s=100.0, duration_s=20.0), arrivals="even"))

    assert np.array_equal(offsets, np.arange(2000) * 10_000_000)


def test_equal_seeds_give_equal_schedules() -> None:
    """Equal seeds give equal arrivals; another seed gives others."""
    assert np.array_equal(all_offsets(a_plan()), all_offsets(a_plan()))
    assert not np.array_equal(all_offsets(a_plan())[:100], all_offsets(a_plan(seed=8))[:100])


def test_reading_in_windows_changes_nothing() -> None:
    """A schedule read in windows of 37 ms is the one that is read at once."""
    assert np.array_equal(all_offsets(a_plan()), all_offsets(a_plan(), step_ns=37_000_000))


def test_blocks_of_one_pair_and_step_have_the_same_arrivals() -> None:
    """Both arms of a pair get the same gaps and draws; another pair or step gets others."""
    plan = a_plan(
        a_block(block=0, pair=3, arm="off", duration_s=5.0),
        a_block(block=1, pair=3, arm="on", start_s=5.0, duration_s=5.0),
        a_block(block=2, pair=4, arm="on", start_s=10.0, duration_s=5.0),
        a_block(block=3, pair=4, step=1, arm="on", start_s=15.0, duration_s=5.0),
    )
    windows = {window.block.block: window for window in Schedule(plan).until(10**12)}
    offsets = [
        windows[n].offsets_ns - round(windows[n].block.start_s * SECOND_NS) for n in range(4)
    ]

    assert np.array_equal(offsets[0], offsets[1])
    assert not np.array_equal(offsets[1][:50], offsets[2][:50])
    assert not np.array_equal(offsets[2][:50], offsets[3][:50])
    assert [windows[n].draw(17) for n in range(4)] == [
        3_000_000_017,
        3_000_000_017,
        4_000_000_017,
        4_001_000_017,
    ]


@pytest.mark.parametrize("arrivals", ["poisson", "even"])
def test_a_ramp_has_the_rate_it_promises_all_along(arrivals: str) -> None:
    """A ramp from 50 to 250 a second sends, in each tenth, the integral of its rate."""
    plan = a_plan(
        a_block(rate_per_s=50.0, rate_end_per_s=250.0, duration_s=100.0), arrivals=arrivals
    )

    counts = np.bincount(all_offsets(plan) // (10 * SECOND_NS), minlength=10)

    expected = np.array([50 * 10 + 20 * 10 * (k + 0.5) for k in range(10)])
    tolerance = 5 * np.sqrt(expected) if arrivals == "poisson" else np.ones(10)
    assert (np.abs(counts - expected) <= tolerance).all()


def test_a_ramp_from_nothing_and_a_pause_are_allowed() -> None:
    """A ramp may start at 0/s, and a block of 0/s sends nothing."""
    ramp = all_offsets(a_plan(a_block(rate_per_s=0.0, rate_end_per_s=10.0, duration_s=10.0)))
    pause = all_offsets(a_plan(a_block(rate_per_s=0.0)))

    assert 20 < len(ramp) < 80
    assert (np.diff(ramp) >= 0).all()
    assert len(pause) == 0


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_assigning_by_number_sends_each_arrival_once(workers: int) -> None:
    """Assigned by number modulo workers, every arrival has one sender, whatever their count."""
    plan = a_plan(a_block(duration_s=5.0), a_block(block=1, pair=1, start_s=5.0, duration_s=5.0))
    assigned: list[int] = []
    for slot in range(workers):
        for window in Schedule(plan).until(10**12):
            numbers = window.first_number + np.arange(len(window.offsets_ns))
            assigned += window.offsets_ns[numbers % workers == slot].tolist()

    assert sorted(assigned) == all_offsets(plan).tolist()


def test_a_replay_repeats_what_was_recorded() -> None:
    """A replayed schedule has the recorded offsets that lie inside the block, and no others."""
    recorded = np.array([0, 5, 700_000_000, 999_999_999, 1_000_000_000])
    plan = a_plan(a_block(start_s=2.0, duration_s=1.0), arrivals="replay")

    found = [window.offsets_ns for window in Schedule(plan, recorded).until(10**12)]

    assert found[0].tolist() == [2_000_000_000, 2_000_000_005, 2_700_000_000, 2_999_999_999]


def test_ordinals_pair_the_arms_and_never_return_within_one() -> None:
    """Arms of a pair share ordinals; a warm-up with the same pair and step has ordinals apart."""
    plan = a_plan(
        a_block(block=0, arm="off", duration_s=1.0, warmup=True),
        a_block(block=1, arm="off", start_s=1.0, duration_s=1.0),
        a_block(block=2, arm="on", start_s=2.0, duration_s=1.0, warmup=True),
        a_block(block=3, arm="on", start_s=3.0, duration_s=1.0),
    )
    counts = planned_counts(plan)

    firsts = first_ordinals(plan, counts)

    assert firsts == [0, counts[0], 0, counts[0]]


def test_an_hour_of_arrivals_is_never_in_memory() -> None:
    """An hour at 500 a second is generated in pieces of at most 4096 arrivals."""
    plan = a_plan(a_block(rate_per_s=250.0, duration_s=3600.0))

    longest = max(len(window.offsets_ns) for window in Schedule(plan).until(10**15))

    assert longest <= 4096
