"""`worthit record --pid`: the CPU per request of a service that somebody else started."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from analysis.questions import asking
from analysis.questions.cost.answer import Cost
from analysis.rundir.run import open_run
from tests.support.load.locust_process import free_port
from worthit.__main__ import main
from worthit.environment.server import child_environment

pytestmark = pytest.mark.integration

COST_S = {"off": 0.030, "on": 0.018}
"""CPU seconds per request."""
PER_BLOCK, BLOCKS, PERIOD_S = 16, 12, 0.06

SERVICE = f"""
import os, subprocess, sys, time
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=500))
tracer = provider.get_tracer("x")
cost = {COST_S!r}

def burn(until):
    while time.process_time() < until:
        pass

# Three quarters of the work is a child's, so that one who looks at the parent alone is wrong.
child, parent_part = None, 0.25
child = subprocess.Popen([sys.executable, "-c", '''
import sys, time
target = time.process_time()
for line in sys.stdin:
    target += float(line)
    while time.process_time() < target:
        pass
    print(flush=True)
'''], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
child.stdin.write("0\\n"); child.stdin.flush(); child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.readline()
target = time.process_time()
due = time.monotonic()
for block in range({BLOCKS}):
    arm = ("off", "on")[block % 2]
    marks = {{"worthit.arm": arm, "worthit.block": block}}
    for _ in range({PER_BLOCK}):
        due += {PERIOD_S}
        time.sleep(max(0.0, due - time.monotonic()))
        with tracer.start_as_current_span("GET /x", kind=SpanKind.SERVER, attributes=marks):
            child.stdin.write(f"{{cost[arm] * 0.75}}\\n"); child.stdin.flush()
            target += cost[arm] * 0.25
            burn(target)
            child.stdout.readline()
print("served", flush=True)
sys.stdin.readline()
provider.shutdown()
"""
"""Both arms in one process, its CPU pinned: whatever telemetry takes is within the request's."""


def test_a_known_cost_per_request_is_found_by_pid(tmp_path: Path) -> None:
    """Both arms' cost is within 3 % of the truth; all together is what the process table says.

    How often the interval holds the truth is counted in 200 simulated runs (test_cost.py).
    """
    port = free_port()
    environ = child_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"})
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as service:
        assert service.stdin is not None
        assert service.stdout is not None
        tree = [psutil.Process(service.pid), psutil.Process(int(service.stdout.readline()))]
        recording = subprocess.Popen(
            [
                *(sys.executable, "-m", "worthit", "record", "--json", "--out", str(tmp_path)),
                *("--pid", str(service.pid), "--http-port", str(port), "--grpc-port", "0"),
                *("--for", "16"),
            ],
            env=child_environment({}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert recording.stderr is not None
        said = next(line for line in recording.stderr if "will be counted" in line)
        next(line for line in recording.stderr if "recording;" in line)
        before = used(tree)
        service.stdin.write("\n")
        service.stdin.flush()
        assert service.stdout.readline() == "served\n"
        burnt = used(tree) - before
        document, _ = recording.communicate(timeout=300)
        service.communicate("\n", timeout=120)

    assert str(service.pid) in said
    run = open_run(json.loads(document)["run"])
    cost = asking.ask(run, Cost)
    rows = {
        row.arm: row.per_request
        for row in cost.rows
        if row.resource == "service_cpu" and row.step is None
    }
    assert set(rows) == {"off", "on"}
    for arm, found in rows.items():
        assert found.has_interval
        assert found.value == pytest.approx(COST_S[arm] * 1e3, rel=0.03)
    each = PER_BLOCK * BLOCKS / 2
    whole = sum((found.value or 0.0) * each for found in rows.values()) / 1e3
    assert whole == pytest.approx(burnt, rel=0.03)
    counters = pq.read_table(Path(json.loads(document)["run"]) / "counters.parquet").to_pylist()
    assert any(row["source"] == "service" and row["name"] == "rss_bytes" for row in counters)


def used(tree: list[psutil.Process]) -> float:
    """CPU seconds of these processes as /proc has them."""
    return float(sum(sum(process.cpu_times()[:2]) for process in tree))


@pytest.mark.parametrize(
    ("pid", "sentence"),
    [("2147483000", "there is no such process"), ("off=x", "--pid off=x names no process")],
)
def test_a_pid_of_nobody_is_a_sentence(
    pid: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said before anything is recorded; nothing is left."""
    assert main(["record", "--out", str(tmp_path), "--pid", pid, "--", "true"]) == 2
    assert sentence in capsys.readouterr().err
    assert [] == list(tmp_path.iterdir())
