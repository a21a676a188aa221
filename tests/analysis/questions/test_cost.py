"""What a request costs: simulated counters of which the truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from analysis.questions.cost import attribution
from analysis.stats.intervals import Estimate, ratio_of_sums

S = 1_000_000_000
BLOCK_S, BLOCKS, RATE, IDLE_PER_S = 5, 12, 20, 0.01
COST = {"off": 0.003, "on": 0.002}
"""CPU seconds per request."""


class Simulated:
    """Two arms in turn; each request takes some seconds and computes at its begin and its end."""

    def __init__(self, seed: int, *, lasting_s: float, tail_s: float = 8.0) -> None:
        """`lasting_s` is a request's mean duration, `tail_s` how long is watched afterwards."""
        rng = np.random.default_rng(seed)
        order = ["off", "on", "on", "off"] * (BLOCKS // 2)
        self.arm = np.array(order)
        self.block_start = np.arange(len(order)) * BLOCK_S * S + 1_700_000_000 * S
        counts = rng.poisson(RATE * BLOCK_S, len(order))
        self.block = np.repeat(np.arange(len(order)), counts)
        offsets = rng.uniform(0, BLOCK_S * S, len(self.block)).astype("int64")
        self.start = self.block_start[self.block] + offsets
        self.end = self.start + (rng.gamma(9, lasting_s / 9, len(self.block)) * S).astype("int64")
        mean = np.array([COST[arm] for arm in self.arm])[self.block]
        self.cpu = mean * rng.gamma(4, 1 / 4, len(self.block))
        until = int(self.end.max()) + round(tail_s * S)
        self.at = np.arange(self.block_start[0] - 2 * S, until, S)

    def stream(self, arms: set[str], arm: str | None) -> attribution.Stream:
        """The counter of a part that serves these arms, sampled every second."""
        served = np.isin(self.arm[self.block], list(arms))
        moments = np.concatenate([self.start[served], self.end[served]])
        spent = np.concatenate([self.cpu[served], self.cpu[served]]) / 2
        order = np.argsort(moments)
        total = np.concatenate([[0.0], np.cumsum(spent[order])])
        grown = total[np.searchsorted(moments[order], self.at, side="right")]
        idle = (self.at - self.at[0]) / S * IDLE_PER_S
        return attribution.Stream(arm=arm, at_ns=self.at, grown=grown + idle)

    def found(
        self, arm: str, stream: attribution.Stream, all_starts: NDArray[np.int64]
    ) -> tuple[Estimate, float | None]:
        """The arm's use per request and the idle rate, as the question computes them."""
        mine = self.arm == arm
        served = np.isin(self.arm[self.block], [stream.arm or "off", stream.arm or "on"])
        window = attribution.windows(
            self.block_start[mine], all_starts, int(self.end[served].max())
        )
        used, idle = attribution.use_of([stream], window, self.start[served], self.end[served])
        requests = np.bincount(self.block, minlength=len(self.arm))[mine].astype("float64")
        numbers = np.arange(len(self.arm))
        known = pd.DataFrame({"block": numbers, "arm": self.arm, "start_ns": self.block_start})
        turn = attribution.turns(known)[numbers[mine]].to_numpy()
        used, requests = (
            pd.Series(each).groupby(turn).sum().to_numpy() for each in (used, requests)
        )
        return ratio_of_sums(used, requests, unit="s", n=int(requests.sum())), idle


@pytest.mark.parametrize("lasting_s", [0.02, 3.0])
def test_an_arms_own_counter_gives_its_cost_also_where_requests_span_blocks(
    lasting_s: float,
) -> None:
    """The interval holds the truth in at least 90 % of 200 runs, and the mean is within 1 %.

    It is narrow as well: by block, neighbours of one arm would make it five times as wide where
    requests take 3 s.
    """
    held, values, widths = 0, [], []
    for seed in range(200):
        run = Simulated(seed, lasting_s=lasting_s)
        found, idle = run.found("on", run.stream({"on"}, "on"), run.block_start[run.arm == "on"])
        held += found.includes(COST["on"])
        values.append(found.value)
        assert found.low is not None
        assert found.high is not None
        widths.append(found.high - found.low)
        assert idle == pytest.approx(IDLE_PER_S, rel=1e-6)

    assert held >= 180
    assert np.mean(values) == pytest.approx(COST["on"], rel=0.01)
    assert np.mean(widths) < 0.1 * COST["on"]


def test_a_shared_counter_is_told_apart_by_blocks_where_requests_are_short() -> None:
    """One service for both arms: each block's growth is its arm's."""
    held = {"off": 0, "on": 0}
    for seed in range(200):
        run = Simulated(seed, lasting_s=0.02)
        shared = run.stream({"off", "on"}, None)
        for arm in held:
            found, _ = run.found(arm, shared, run.block_start)
            held[arm] += found.includes(COST[arm])

    assert min(held.values()) >= 180


def test_a_block_that_begins_between_two_samples_takes_nothing_of_the_other_arm() -> None:
    """Straight lines would make the difference a fifteenth too small: both ways are tried."""
    gaps: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(60):
        run = Simulated(seed, lasting_s=0.02)
        run.at = run.at + S // 2
        straight = run.stream({"off", "on"}, None)
        for by_rate, stream in (
            (False, straight),
            (
                True,
                attribution.divided(straight, run.block_start, list(run.arm), int(run.end.max())),
            ),
        ):
            means = [run.found(arm, stream, run.block_start)[0].value for arm in ("off", "on")]
            assert means[0] is not None
            assert means[1] is not None
            gaps[by_rate].append(means[0] - means[1])

    truth = COST["off"] - COST["on"]
    assert np.mean(gaps[True]) == pytest.approx(truth, rel=0.02)
    assert np.mean(gaps[False]) < 0.96 * truth


def test_a_counter_that_is_divided_at_the_blocks_grows_no_more_and_no_less() -> None:
    """The samples themselves stay where they were, also where a rate makes no sense."""
    run = Simulated(3, lasting_s=0.02)
    run.at = run.at + S // 3
    for stream in (
        run.stream({"off", "on"}, None),
        attribution.Stream(arm=None, at_ns=run.at, grown=np.zeros(len(run.at))),
    ):
        finer = attribution.divided(stream, run.block_start, list(run.arm), int(run.end.max()))
        kept = np.isin(finer.at_ns, stream.at_ns)
        assert finer.at_ns[kept].tolist() == stream.at_ns.tolist()
        assert finer.grown[kept] == pytest.approx(stream.grown)
        assert np.all(np.diff(finer.grown) >= 0)


def test_requests_that_lie_in_the_other_arms_block_are_seen() -> None:
    """3 s of requests in blocks of 5 s: a third of their time is abroad; of 20 ms nearly none."""
    shares = []
    for lasting_s in (0.02, 3.0):
        run = Simulated(1, lasting_s=lasting_s)
        window = attribution.windows(run.block_start, run.block_start, int(run.end.max()))
        shares.append(attribution.abroad(window, run.block, run.start, run.end))

    assert shares[0] < 0.01 < attribution.MOST_ABROAD < 0.25 < shares[1] < 0.4


def test_without_a_gap_the_idle_cost_is_not_known() -> None:
    """Nothing is taken out, and None says so; it is not 0."""
    run = Simulated(1, lasting_s=0.02, tail_s=0.5)
    _, idle = run.found("on", run.stream({"on", "off"}, None), run.block_start)

    assert idle is None


def test_a_counter_that_begins_again_goes_on_growing() -> None:
    """A restarted process counts from 0: its earlier work is not taken back."""
    samples = pd.DataFrame(
        {"t_ns": [0, S, 2 * S, 3 * S], "value": [5.0, 7.0, 0.5, 1.5], "labels": "{}"}
    )
    (stream,) = attribution.streams(samples, pd.Series([None] * 4))

    assert stream.arm is None
    assert stream.grown.tolist() == [0.0, 2.0, 2.0, 3.0]
