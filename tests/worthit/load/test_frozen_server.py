"""The trap that stock load generators fall into: a server that stands still for four seconds."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from analysis.claims.thresholds import evaluate
from tests.support.load.locust_process import (
    block,
    code_but_for_lag,
    end_of,
    recorded,
    sleep_until,
    start_locust,
    stub_server,
    write_plan,
)
from worthit.contract.thresholds import parse

pytestmark = pytest.mark.integration

RATE_PER_S = 100
DURATION_S = 20
FROZEN_S = 4.0
FREEZE_AT_S = 8.0
P95_S, P99_S = 3.0, 3.8
"""The truth: a fifth of the arrivals fall into the freeze and wait for what is left of it, evenly
0 to 4 s; the slowest 5 % of all waited 3.0 s and more, the slowest 1 % 3.8 s.
"""


def freeze(process_id: int, started: float) -> float:
    """Stop the server at the set time; return for how long it really stood still."""
    time.sleep(max(started + FREEZE_AT_S - time.time(), 0))
    stopped = time.monotonic()
    os.kill(process_id, signal.SIGSTOP)
    time.sleep(FROZEN_S)
    os.kill(process_id, signal.SIGCONT)
    return time.monotonic() - stopped


def test_a_frozen_server_is_seen_in_full(tmp_path: Path) -> None:
    """100/s for 20 s with the server stopped for 4 s: p95 3.0 s and p99 3.8 s, within 5 %."""
    out = tmp_path / "out"
    with stub_server(latency_ms=5) as stub:
        plan = write_plan(
            tmp_path,
            [block(0, host=stub.url, start_s=0.0, duration_s=DURATION_S, rate_per_s=RATE_PER_S)],
            arrivals="even",
        )
        locust = start_locust(
            "--headless", "--worthit-plan", str(plan), "--worthit-out", str(out)
        )  # fmt: skip
        started = sleep_until(out, 0.0)
        frozen_s = freeze(stub.process.pid, started)
        code, output = end_of(locust)
        seen = stub.seen()

    rows = recorded(out)
    assert code_but_for_lag(code, output) == 0, output
    assert len(rows) == seen["requests"] == RATE_PER_S * DURATION_S
    response_s = ((rows["end_ns"] - rows["intended_ns"]) / 1e9).to_numpy()
    p95_s, p99_s = np.quantile(response_s, [0.95, 0.99])
    # the server's own clock against the schedule: draw n was wanted n * 10 ms after zero
    truth_s = np.array([at / 1e9 - started - draw / RATE_PER_S for draw, at in seen["answered"]])
    assert p95_s == pytest.approx(np.quantile(truth_s, 0.95), rel=0.05)
    assert p99_s == pytest.approx(np.quantile(truth_s, 0.99), rel=0.05)
    # a busy machine wakes the server late and lets it take a moment for 400 requests
    busy_s = (
        frozen_s - FROZEN_S + catching_up_s(seen["answered"], started + FREEZE_AT_S + frozen_s)
    )
    assert 0.95 * P95_S < p95_s < 1.05 * (P95_S + busy_s)
    assert 0.95 * P99_S < p99_s < 1.05 * (P99_S + busy_s)
    assert output_figures(output) == pytest.approx((p95_s, p99_s), rel=0.005)
    assert "service time (from the actual send)" in output
    assert "the service stalled or queued while arrivals went on" in output
    assert not evaluate([parse("response_time: p(95)<500")], requests=rows)["within"].any()


def catching_up_s(answered: list[tuple[int, int]], thawed: float) -> float:
    """Return how long the server took, once awake, for what was wanted while it was not."""
    wanted_before = int((FREEZE_AT_S + FROZEN_S) * RATE_PER_S)
    last_ns = max(at for draw, at in answered if draw < wanted_before)
    return max(last_ns / 1e9 - thawed, 0.0)


def output_figures(output: str) -> tuple[float, float]:
    """Return p95 and p99 of response time in s, as Locust's last lines say them."""
    words = output.split("response time (from the intended send)")[1].split(";", maxsplit=1)[0]
    p95, p99 = re.findall(r"p9[59] ([0-9.]+) s", words)
    return float(p95), float(p99)
