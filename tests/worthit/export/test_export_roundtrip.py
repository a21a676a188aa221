"""What a run sends is what our own recorder gets: exported, recorded, read back, compared."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pandas as pd
import pytest

from analysis import traces
from analysis.rundir.run import Run, open_run
from tests.support.load.locust_process import free_port
from tests.support.runs.synthetic_run import Truth, write_run
from worthit.__main__ import main

pytestmark = pytest.mark.integration

ADDED_BY_EXPORT = {
    "worthit.run",
    "worthit.arm",
    "worthit.step",
    "worthit.block",
    "worthit.scenario",
    "otel.scope.name",
}


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    truth = Truth(rates_per_s=(20.0,), pairs=2, block_s=4.0)
    return open_run(write_run(tmp_path_factory.mktemp("runs") / "small", truth))


def start_recorder(out: Path, http_port: int, grpc_port: int) -> subprocess.Popen[bytes]:
    """`python -m worthit.recorder`, ready."""
    ports = ["--http-port", str(http_port), "--grpc-port", str(grpc_port)]
    command = [sys.executable, "-m", "worthit.recorder", *ports, "--out", str(out)]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/healthz", timeout=1):
                return process
        except OSError:
            time.sleep(0.05)
    process.kill()
    raise AssertionError("the recorder did not start within 20 s")


@contextmanager
def recorder(out: Path) -> Iterator[tuple[int, int]]:
    """A recorder for as long as the block lasts; gives its HTTP and gRPC ports."""
    http_port, grpc_port = free_port(), free_port()
    process = start_recorder(out, http_port, grpc_port)
    try:
        yield http_port, grpc_port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def attributes(spans: pd.DataFrame) -> pd.Series:
    """Each span's attributes as a dictionary, without what export adds."""
    return spans["attributes"].map(
        lambda text: {
            key: value
            for key, value in (json.loads(text) if isinstance(text, str) else {}).items()
            if key not in ADDED_BY_EXPORT
        }
    )


def sorted_spans(spans: pd.DataFrame) -> pd.DataFrame:
    """The table in order of span id, with dictionaries for attributes."""
    table = spans.assign(attributes=attributes(spans))
    return table.sort_values(["trace_id", "span_id"]).reset_index(drop=True)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_every_span_comes_back_as_it_was(run: Run, protocol: str, tmp_path: Path) -> None:
    """Ids, names, nanoseconds, status, arm, step, block and attributes survive the replay."""
    out = tmp_path / "traces.otlp"
    with recorder(out) as (http_port, grpc_port):
        port = http_port if protocol == "http" else grpc_port
        code = main(["export", str(run.path), "--otlp", f"{protocol}://127.0.0.1:{port}"])

    expected, actual = sorted_spans(run.spans), sorted_spans(traces.read(out))
    assert code == 0
    pd.testing.assert_frame_equal(
        expected, actual[expected.columns], check_dtype=False, check_like=True
    )


def test_a_receiver_killed_and_started_again_gets_everything(run: Run, tmp_path: Path) -> None:
    """SIGKILL in the middle of a replay costs a wait, not a span; some may arrive twice."""
    out = tmp_path / "traces.otlp"
    http_port, grpc_port = free_port(), free_port()
    first = start_recorder(out, http_port, grpc_port)
    codes: list[int] = []
    url = f"http://127.0.0.1:{http_port}"
    arguments = ["export", str(run.path), "--otlp", url, "--rate", str(len(run.spans) / 2)]
    replay = Thread(target=lambda: codes.append(main(arguments)))
    replay.start()
    while not out.exists() or out.stat().st_size == 0:
        time.sleep(0.02)
    first.kill()
    first.wait(20)
    second = start_recorder(out, http_port, grpc_port)
    try:
        replay.join(60)
    finally:
        second.send_signal(signal.SIGTERM)
        second.wait(20)

    assert codes == [0]
    assert set(run.spans["span_id"]) == set(traces.read(out)["span_id"])
