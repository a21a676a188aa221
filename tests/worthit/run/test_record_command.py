"""`worthit record`, as a person runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pyarrow.parquet as pq
import pytest

from tests.support.load.locust_process import PLUGIN, stub_server
from tests.support.traces.otlp import batch_of_traces
from worthit.environment.server import child_environment
from worthit.process.workspace import Workspace

pytestmark = pytest.mark.integration

EXPORTS = """
import sys
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
for number in range(120):
    about = {"worthit.arm": ("off", "on")[number // 10 % 2], "worthit.step": 0,
             "worthit.block": number // 10}
    with provider.get_tracer("x").start_as_current_span("GET /x", attributes=about):
        pass
provider.shutdown()
sys.exit(int(sys.argv[1]))
"""
"""A service that knows nothing of us but OpenTelemetry's own settings."""


NOBODY = "http://127.0.0.1:9"
"""The port `discard`, where nobody listens: what is passed on there is lost, and nothing else."""


def record(out: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `worthit record`."""
    return subprocess.Popen(
        [sys.executable, "-m", "worthit", "record", "--out", str(out), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=child_environment(
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": NOBODY,
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{NOBODY}/v1",
            }
        ),
    )


def test_a_command_is_recorded_into_a_run(tmp_path: Path) -> None:
    """Its spans, its arms and blocks, its exit code; the run is whole and the only thing left."""
    process = record(
        tmp_path, "--json", "--name", "mine", "--", sys.executable, "-c", EXPORTS, "3"
    )
    stdout, stderr = process.communicate(timeout=60)

    said = json.loads(stdout)
    run = Path(said["run"])
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    spans = pq.read_table(run / "spans.parquet").to_pandas()
    assert process.returncode == 1, stderr  # the command's failure is told
    assert (said["spans"], said["command_exit_code"]) == (120, 3)
    assert spans["arm"].value_counts().to_dict() == {"off": 60, "on": 60}
    assert [arm["name"] for arm in manifest["arms"] if arm["baseline"]] == ["off"]
    assert [(b["block"], b["arm"]) for b in manifest["blocks"]] == [
        (block, ("off", "on")[block % 2]) for block in range(12)
    ]
    pairs = [block["pair"] for block in manifest["blocks"]]
    assert [pairs.count(pair) for pair in sorted(set(pairs))] == [2] * 6
    assert manifest["complete"] is True
    assert manifest["recorded"]["spans"] == 120
    passed_on = manifest["parts"]["recorder"]["passed_on"]
    assert passed_on["endpoint"] == NOBODY
    assert passed_on["missed"] == passed_on["batches"] > 0
    assert f"batches of telemetry were not passed on to {NOBODY}" in stderr
    assert list(tmp_path.iterdir()) == [run]


def test_a_running_service_is_recorded_until_ctrl_c(tmp_path: Path) -> None:
    """Without a command the ports are open, and Ctrl-C ends it with a run."""
    with Workspace() as workspace:
        http_port, grpc_port = workspace.free_port(), workspace.free_port()
    process = record(tmp_path, "--http-port", str(http_port), "--grpc-port", str(grpc_port))
    deadline = time.monotonic() + 30
    while True:
        try:
            httpx.post(
                f"http://127.0.0.1:{http_port}/v1/traces",
                content=batch_of_traces(range(3)),
                headers={"Content-Type": "application/x-protobuf"},
            ).raise_for_status()
            break
        except httpx.TransportError:
            assert time.monotonic() < deadline, process.kill()
            time.sleep(0.05)

    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)

    assert process.returncode == 0, stderr
    assert stdout.startswith("SUSPECT: ")
    assert "(30 spans)" in stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--", "true"], 1, "No span came in, so there is nothing to keep"),
        (["--", "false"], 1, "The command failed (exit code 1) and no span came in"),
        (["--", "no-such-command"], 2, "The command no-such-command was not found"),
        (["--name", "../x", "--for", "1"], 2, "cannot be a folder's"),
        (["--for", "0"], 2, "0 is not in the range"),
    ],
    ids=["no spans", "a command that fails", "no such command", "a bad name", "no time"],
)
def test_nothing_to_record_leaves_nothing(
    tmp_path: Path, arguments: list[str], code: int, sentence: str
) -> None:
    """One sentence, its exit code, and no run."""
    process = record(tmp_path, *arguments)
    stdout, stderr = process.communicate(timeout=60)

    assert (process.returncode, stdout) == (code, "")
    assert sentence in stderr
    assert "Traceback" not in stderr
    assert list(tmp_path.iterdir()) == []


SERVES = """
import time
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=DELAY))
with provider.get_tracer("x").start_as_current_span("GET /x"):
    pass
print("served", flush=True)
time.sleep(600)
"""
"""A service that runs until it is ended and exports as late as OpenTelemetry's SDK does."""


def test_an_end_that_was_asked_for_is_no_failure(tmp_path: Path) -> None:
    """--for ends a script's child that the script would not have told; with --json stdout is ours.

    The service dies of our Ctrl-C, and that is not held against it.
    """
    service = tmp_path / "service.py"
    service.write_text(SERVES.replace("DELAY", "200"), encoding="utf-8")
    script = f"'{sys.executable}' '{service}'; echo not reached"

    process = record(tmp_path / "runs", "--json", "--for", "4", "--", "sh", "-c", script)
    stdout, stderr = process.communicate(timeout=60)

    said = json.loads(stdout)
    assert process.returncode == 0, stderr
    assert (said["spans"], said["command_stopped"]) == (1, True)
    assert said["command_exit_code"] != 0
    assert "served" in stderr
    assert [] == _running(service)


def test_what_a_script_leaves_running_may_export_and_is_ended(tmp_path: Path) -> None:
    """A service in the background exports five seconds after its request: that is waited for."""
    service = tmp_path / "service.py"
    service.write_text(SERVES.replace("DELAY", "3000"), encoding="utf-8")
    script = f"'{sys.executable}' '{service}' & sleep 2"

    process = record(tmp_path / "runs", "--json", "--", "sh", "-c", script)
    stdout, stderr = process.communicate(timeout=60)

    assert process.returncode == 0, stderr
    assert json.loads(stdout)["spans"] == 1
    assert "ending what the command left running: python" in stderr
    assert [] == _running(service)


def _running(script: Path) -> list[int]:
    """Processes that run this script."""
    commands = ((p.pid, p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))
    return [pid for pid, command in commands if str(script) in command]


THEIRS = """
from locust import HttpUser, constant, task

class Shop(HttpUser):
    wait_time = constant(0.02)

    @task
    def look(self):
        self.client.get("/look")
"""
LOCUST = (
    "'{python}' -m locust -f theirs.py,{plugin} --headless --only-summary -u 1 -t 5s "
    "--host {host} --worthit-arm {arm} || exit 9\n"
)


def test_two_locusts_of_one_script_are_two_arms(tmp_path: Path) -> None:
    """`locust --worthit-arm off; locust --worthit-arm on`: all rows, and blocks apart.

    The recorded spans are the load's own: the service of this test exports none.
    """
    (tmp_path / "theirs.py").write_text(THEIRS, encoding="utf-8")
    with stub_server() as stub:
        script = "".join(
            LOCUST.format(
                python=sys.executable,
                plugin=PLUGIN,
                host=stub.url,
                arm=arm,
            )
            for arm in ("off", "on")
        )
        (tmp_path / "compare.sh").write_text(f"cd '{tmp_path}'\n{script}", encoding="utf-8")
        process = record(tmp_path / "runs", "--json", "--", "sh", str(tmp_path / "compare.sh"))
        stdout, stderr = process.communicate(timeout=100)
        seen = stub.seen()

    assert process.returncode in {0, 4}, stderr
    run = Path(json.loads(stdout)["run"])
    rows = pq.read_table(run / "requests.parquet").to_pandas()
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    assert len(rows) - 2 <= seen["requests"] <= len(rows)
    assert rows.groupby("arm")["block"].unique().map(list).to_dict() == {
        "off": [0],
        "on": [100_000],
    }
    assert [(b["block"], b["arm"]) for b in manifest["blocks"]] == [(0, "off"), (100_000, "on")]
    assert {arm["name"] for arm in manifest["arms"]} == {"off", "on"}
