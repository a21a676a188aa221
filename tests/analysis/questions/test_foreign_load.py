"""Of a load that was not ours nothing is paired by the number of an arrival."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from analysis.checks.counts.cross_checks import roots
from analysis.questions.faster import answer as faster
from analysis.questions.faster.answer import EndToEndRow
from analysis.rundir.blocks import block_table, pairs
from analysis.rundir.run import Run


def _mean(run: Run, requests: pd.DataFrame) -> EndToEndRow:
    """The mean response time at the lowest rate."""
    blocks = block_table(run.manifest, requests, roots(run.measured_spans))
    (found,) = [
        row
        for row in faster.end_to_end(run.manifest, requests, blocks)
        if (row.statistic, row.time, row.step) == ("mean", "response", 0)
    ]
    return found


def test_a_load_that_was_not_ours_is_compared_without_its_arrivals_numbers(run: Run) -> None:
    """The difference is that of the block means, whatever the numbers were."""
    foreign = replace(
        run,
        manifest=replace(run.manifest, scenario=""),
        written=replace(run.written, scenario=""),
    )
    requests = foreign.measured_requests
    blocks = block_table(run.manifest, requests, roots(run.measured_spans))
    mean = _mean(run, requests)

    took_ms = (requests["end_ns"] - requests["intended_ns"]).astype("float64") / 1e6
    by_block = took_ms.groupby(requests["block"]).mean()
    both = pairs(blocks[blocks["step"] == 0], "off", "on")
    gaps = by_block[both["second"]].to_numpy() - by_block[both["first"]].to_numpy()
    low, high = scipy.stats.t.interval(0.95, len(gaps) - 1, gaps.mean(), scipy.stats.sem(gaps))
    assert requests["draw"].isna().all()
    assert mean.difference.value == pytest.approx(gaps.mean())
    assert (mean.difference.low, mean.difference.high) == pytest.approx((low, high))
    assert mean.difference.n == requests["block"].isin([*both["first"], *both["second"]]).sum()
    assert "paired" not in mean.difference.method


def test_without_draws_a_slow_failure_makes_no_arm_faster(run: Run) -> None:
    """Requests that one arm fails after half of their time widen the interval upwards alone."""
    requests = run.measured_requests.assign(
        draw=pd.array([pd.NA] * len(run.measured_requests), "Int64")
    )
    chosen = (requests["arm"] == "on") & (np.arange(len(requests)) % 10 == 0)
    took = requests["end_ns"] - requests["intended_ns"]
    failed = requests.assign(
        status_code=requests["status_code"].mask(chosen, 503),
        end_ns=requests["end_ns"].mask(chosen, requests["intended_ns"] + took * 7 // 10),
    )
    before = _mean(run, requests).difference
    after = _mean(run, failed)

    assert after.slow_failures > 0
    assert after.difference.high is not None
    assert before.high is not None
    assert before.value is not None
    assert after.difference.high > before.value
    assert after.decided == "not decided"
