"""Where more load stops helping, on sweeps of which the truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.questions.capacity import answer as capacity
from analysis.rundir.manifest import parse

RATES = (10.0, 20.0, 40.0, 80.0)
SECONDS = 10
BLOCKS = 6


def knee(
    rng: np.random.Generator,
    *,
    slow: tuple[float, ...] = (1.0,) * 4,
    failing: tuple[float, ...] = (0.0,) * 4,
    rates: tuple[float, ...] = RATES,
) -> capacity.KneeRow:
    """What is said of a sweep of one arm: requests of 100 ms times ``slow``, log-normal.

    Each block has a mood of 5 %; a share of ``failing`` is answered with 503 after as long.
    """
    tables: list[pd.DataFrame] = []
    blocks: list[dict[str, object]] = []
    for step, rate in enumerate(rates):
        for _ in range(BLOCKS):
            number, count = len(blocks), int(rate * SECONDS)
            start = number * SECONDS * 10**9
            took = 1e8 * slow[step] * rng.lognormal(rng.normal(0, 0.05), 0.3, count)
            sent = start + np.sort(rng.uniform(0, SECONDS * 1e9, count)).astype(np.int64)
            fails = rng.random(count) < failing[step]
            tables.append(
                pd.DataFrame(
                    {"arm": "on", "block": number, "draw": np.arange(count), "intended_ns": sent,
                     "end_ns": sent + took.astype(np.int64),
                     "status_code": np.where(fails, 503, 200)}
                )
            )  # fmt: skip
            blocks.append(
                {"arm": "on", "block": number, "step": step, "rate_per_s": rate, "stretch": 1.0}
            )
    manifest = parse(
        {"format_version": 1, "run_id": "r", "arms": [{"name": "on", "baseline": True}]}
    )
    levels = capacity.steps(manifest, pd.concat(tables, ignore_index=True), pd.DataFrame(blocks))
    return capacity.knees(levels)[0]


def test_the_knee_lies_between_two_levels() -> None:
    """Three times as slow at 80/s, 1.2 times at 40/s: the knee lies between the two."""
    found = knee(np.random.default_rng(1), slow=(1.0, 1.0, 1.2, 3.0))

    assert (40.0, 80.0) == (found.above_per_s, found.knee_per_s)
    assert found.sentence.startswith("Between 40/s and 80/s: p95 above ")


def test_errors_from_one_level_on_are_a_knee() -> None:
    """A fifth of the requests refused at 40/s and above."""
    found = knee(np.random.default_rng(2), failing=(0.02, 0.02, 0.2, 0.3))

    assert 40.0 == found.knee_per_s
    assert "less than 99%" in str(found.rule)


def test_errors_that_every_level_has_are_no_knee() -> None:
    """5 % failing at every rate: in 40 sweeps at most 6 knees (5 % are allowed; 7: 3 in 10^3)."""
    rng = np.random.default_rng(3)

    said = sum(knee(rng, failing=(0.05,) * 4).knee_per_s is not None for _ in range(40))

    assert said <= 6


def test_one_level_has_no_knee() -> None:
    """A tenth failing at the one rate that was tried is an error rate and no knee."""
    found = knee(np.random.default_rng(4), failing=(0.1,), slow=(1.0,), rates=(10.0,))

    assert found.knee_per_s is None
    assert "one rate shows no knee" in found.sentence


def test_a_level_on_the_edge_is_called_undecided() -> None:
    """Just twice as slow at the highest rate: the scatter does not tell, and the sentence says."""
    found = knee(np.random.default_rng(5), slow=(1.0, 1.0, 1.0, 2.0))

    assert (None, (80.0,)) == (found.knee_per_s, found.undecided_per_s)
    assert "at 80/s the scatter of the blocks does not tell" in found.sentence
