"""Whether a service kept up is seen in when its answers came, not in the schedule's length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.questions.capacity import answer as capacity
from analysis.questions.database_load import answer as database_load
from analysis.questions.database_load.answer import LoadRow
from analysis.rundir.blocks import block_table
from analysis.rundir.manifest import Manifest, parse
from analysis.stats.intervals import Estimate

SECOND = 1_000_000_000


def _run(
    rate: float, serves: float, *, blocks: int = 6, seconds: float = 4.0, slow_s: float = 0.0
) -> tuple[Manifest, pd.DataFrame, pd.DataFrame]:
    """One server that takes 1/serves s a request, one after the other; then slow_s elsewhere."""
    rng = np.random.default_rng(3)
    table, requests, calls, clock = [], [], [], 0.0
    for block in range(blocks):
        sent = clock + np.sort(rng.uniform(0, seconds, round(rate * seconds)))
        free, served = clock, []
        for at in sent:
            began = max(at, free)
            free = began + 1.0 / serves
            served.append((began, free))
        own: dict[str, Any] = {"arm": "off", "block": block}
        table.append(
            {**own, "pair": block, "step": 0, "rate_per_s": rate, "start_ns": int(clock * SECOND),
             "end_ns": int((clock + seconds) * SECOND)}
        )  # fmt: skip
        ends = np.array([end for _, end in served])
        elsewhere = slow_s * rng.lognormal(0.0, 0.3, len(sent))
        requests.append(
            pd.DataFrame({**own, "draw": np.arange(len(sent)), "status_code": 200,
                          "intended_ns": (sent * SECOND).astype(np.int64),
                          "end_ns": ((ends + elsewhere) * SECOND).astype(np.int64)})
        )  # fmt: skip
        calls.append(
            pd.DataFrame({**own, "name": "SELECT x", "db_collection": "x",
                          "duration_ns": [int((e - b) * SECOND) for b, e in served],
                          "held_ns": [(e - b) * SECOND for b, e in served]})
        )  # fmt: skip
        clock += 60.0
    manifest = parse(
        {
            "format_version": 1, "run_id": "r", "arms": [{"name": "off", "baseline": True}],
            "blocks": table,
            "generator": [{"step": 0, "offered_per_s": rate, "achieved_per_s": rate}],
        }
    )  # fmt: skip
    return manifest, pd.concat(requests, ignore_index=True), pd.concat(calls, ignore_index=True)


def test_a_server_that_falls_behind_does_not_keep_up() -> None:
    """Offered 100/s, one that serves 50/s gives 50/s, though nothing fails and all is sent."""
    manifest, requests, _ = _run(100.0, 50.0)
    blocks = block_table(manifest, requests, requests)

    steps = capacity.steps(manifest, requests, blocks)
    knee = capacity.knees(steps)[0]

    assert steps[0].achieved_per_s == pytest.approx(50.0, rel=0.05)
    assert knee.knee_per_s is None
    assert "fell behind at 100/s" in knee.sentence
    assert "any knee lies below" in knee.sentence


def test_a_long_request_is_no_backlog() -> None:
    """Answers of 3 s, give or take, keep up as long as they do not take longer and longer."""
    manifest, requests, _ = _run(40.0, 400.0, slow_s=3.0)
    blocks = block_table(manifest, requests, requests)

    assert [1.0] * 6 == list(blocks["stretch"])
    assert capacity.steps(manifest, requests, blocks)[0].achieved_per_s == 40.0


def test_no_more_connections_are_busy_than_there_are() -> None:
    """One server's queries keep one connection busy, however many requests stand in line."""
    manifest, requests, calls = _run(100.0, 50.0)
    blocks = block_table(manifest, requests, requests)

    row = database_load.by_step(calls, blocks)[0]

    assert row.busy_connections.value == pytest.approx(1.0, abs=0.05)
    assert row.per_s.value == pytest.approx(50.0, rel=0.05)


def test_connections_at_a_rate_scatter_with_how_long_they_are_held() -> None:
    """One query a request exactly, held for a time that differs by block: the ends lie apart."""
    manifest, requests, calls = _run(20.0, 200.0)
    blocks = block_table(manifest, requests, requests)
    factor = 1.0 + 0.1 * calls["block"].to_numpy(np.float64)
    calls = calls.assign(held_ns=calls["held_ns"] * factor)

    load = database_load.by_step(calls, blocks)
    row = capacity.expectation(load, rate_per_s=1000.0)[0]
    busy = row.busy_connections

    assert row.queries_per_s.low == pytest.approx(row.queries_per_s.high)
    assert busy.low is not None
    assert busy.high is not None
    assert busy.value == pytest.approx(1000 * 0.005 * 1.25, rel=0.01)
    assert busy.high - busy.low > 1.0


def test_what_is_saved_has_the_scatter_of_both_arms() -> None:
    """Saved connections are one arm's less the other's, with the ends of both."""
    held = {"off": (0.008, 0.007, 0.009), "on": (0.0005, 0.0003, 0.0007)}
    one = Estimate(value=1.0, unit="per_request", n=9, blocks=9, low=1.0, high=1.0)
    rows = [
        LoadRow(
            arm=arm,
            step=0,
            offered_per_s=10.0,
            achieved_per_s=10.0,
            collection="x",
            per_request=one,
            per_s=one.scaled(10.0, "per_s"),
            busy_connections=one,
            held_s_per_request=Estimate(value=v, unit="s", n=9, blocks=9, low=low, high=high),
        )
        for arm, (v, low, high) in held.items()
    ]

    off, on = capacity.expectation(rows, rate_per_s=1000.0, baseline="off")
    saved = on.saved_connections

    assert saved is not None
    assert (saved.value, saved.low, saved.high) == pytest.approx(
        (7.5, 7.5 - np.hypot(1.0, 0.2), 7.5 + np.hypot(1.0, 0.2))
    )
    assert off.saved_connections is None


def test_a_peak_that_nobody_has_seen_is_not_said() -> None:
    """A law that would peak at 400 in flight, measured to 40: no peak within twice the range."""
    in_flight = np.array([1.0, 2.0, 5.0, 10.0, 20.0, 40.0])
    throughput = 10 * in_flight / (1 + 6e-6 * in_flight * (in_flight - 1))
    p95 = Estimate(value=None, unit="ms", n=9, blocks=9)
    steps = [
        capacity.StepRow(
            arm="on",
            step=step,
            offered_per_s=rate,
            achieved_per_s=rate,
            p95_ms=p95,
            in_flight=float(in_flight[step]),
            in_time=1.0,
            failing_more=p95,
            slowdown=p95,
        )
        for step, rate in enumerate(map(float, throughput))
    ]

    row = capacity.scalability(steps)[0]

    assert row.peak_in_flight.value is None
    assert "No peak within twice the measured range, 80 requests in flight" in row.sentence
