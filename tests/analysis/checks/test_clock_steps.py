"""A clock that is set during a run makes the block INVALID by name; nothing else does."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.checks.clock_steps import about_clocks
from analysis.checks.verdict import judge, judge_tables
from analysis.rundir.run import Run

BLOCKS, REQUESTS, RATE = 6, 100, 20.0


def tables(
    rng: np.random.Generator, *, late_s: np.ndarray | float = 0.0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Root spans and requests of six blocks; spans begin 1 ms after, log-normal, plus ``late_s``.

    ``late_s`` by request, in order of time.
    """
    n = BLOCKS * REQUESTS
    sent = (np.arange(n) / RATE * 1e9).astype(np.int64) + 10**18
    delay = rng.lognormal(np.log(1e6), 1.0, n) + np.broadcast_to(late_s, n) * 1e9
    trace = [f"{number:032x}" for number in range(n)]
    block = np.repeat(np.arange(BLOCKS), REQUESTS)
    spans = pd.DataFrame(
        {"trace_id": trace, "span_id": [each[16:] for each in trace], "parent_span_id": None,
         "service": "chat", "kind": "SERVER", "start_ns": sent + delay.astype(np.int64),
         "duration_ns": 10**8, "block": block}
    )  # fmt: skip
    requests = pd.DataFrame(
        {"trace_id": trace, "sent_ns": sent, "end_ns": sent + 2 * 10**8, "block": block}
    )
    return spans, requests


@pytest.mark.parametrize("step_s", [-2.0, -0.2, 0.2, 2.0])
@pytest.mark.parametrize("at", [250, 345, 437])
def test_a_clock_that_is_set_is_found_in_its_block(step_s: float, at: int) -> None:
    """Forward or back, in a block's middle or nearer to its ends: the block is named."""
    late = np.where(np.arange(BLOCKS * REQUESTS) >= at, step_s, 0.0)

    (issue,) = about_clocks(*tables(np.random.default_rng(at), late_s=late))

    assert "INVALID" == issue.level.name
    assert f"in block {at // REQUESTS}:" in issue.sentence
    assert ("forward" if step_s > 0 else "back") in issue.sentence


def test_a_busy_or_halted_service_is_no_clock() -> None:
    """A halt of 3 s that is worked off, and a backlog that grows through each block or the run."""
    number = np.arange(BLOCKS * REQUESTS)
    halted = np.where(number >= 250, np.maximum(3.0 - (number - 250) / RATE, 0.0), 0.0)
    in_blocks = (number % REQUESTS) / RATE * 0.2
    throughout = number / RATE * 0.2

    for late in (0.0, halted, in_blocks, throughout):
        for seed in range(20):
            assert [] == about_clocks(*tables(np.random.default_rng(seed), late_s=late))


def test_what_ends_before_it_begins_is_named_by_block() -> None:
    """One span of block 2 and one request of block 4, by an ordinary clock step."""
    spans, requests = tables(np.random.default_rng(1))
    spans["duration_ns"] = np.where(np.arange(len(spans)) == 250, -5, 10**8)
    back = np.arange(len(requests)) == 450
    requests["end_ns"] = np.where(back, requests["sent_ns"] - 1, requests["end_ns"])

    said = [issue.sentence for issue in about_clocks(spans, requests)]

    assert said[0].startswith("Spans of block 2 end before they begin (1)")
    assert said[1].startswith("Requests of block 4 end before they begin (1)")


def test_the_verdict_of_a_run_says_so(run: Run) -> None:
    """A service whose clock is set back by 1 s two thirds through makes the run INVALID."""
    assert "VALID" == judge(run).verdict
    sent = run.requests["sent_ns"]
    spans = run.spans
    after = spans["start_ns"] >= sent.quantile(2 / 3)
    moved = spans.assign(start_ns=spans["start_ns"] - after * 10**9)

    judgement = judge_tables(
        run.manifest,
        spans=moved,
        requests=run.requests,
        counters=run.counters,
        events=run.events,
        llm_calls=run.llm_calls,
    )

    assert "INVALID" == judgement.verdict
    assert any("was set back by about 1 s in block" in one for one in judgement.reasons)
