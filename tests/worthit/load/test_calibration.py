from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.load.locust_process import free_port, recorded, run_locust, stub_server

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("processes", [0, 2])
def test_calibration_tells_the_loads_own_part_and_leaves_no_trace(
    tmp_path: Path, processes: int
) -> None:
    """A server of 50 ms: the load's own part is told, and only scheduled requests are there."""
    port = str(free_port())
    several = ("--processes", "2", "--master-bind-port", port, "--master-port", port)
    with stub_server(latency_ms=50) as stub:
        _code, output = run_locust(
            "personality_lookup", "--host", stub.url, "--arrival-rate", "40", "--duration", "2s",
            "--calibrate", "--worthit-out", str(tmp_path), *(several if processes else ()),
        )  # fmt: skip
        seen = stub.seen()["requests"]

    report = json.loads((tmp_path / "generator.json").read_text(encoding="utf-8"))
    row = report["generator"][0]
    assert "Against a server that answers at once a request takes p50" in output
    assert row["own_p99_ms"] > 0
    assert row["arrivals_sent"] == row["arrivals_planned"] == seen == len(recorded(tmp_path))
    assert row["requests"] == seen
