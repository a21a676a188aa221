"""Locust and the stub server as processes of their own, and what a run left behind."""

from __future__ import annotations

import http.client
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from worthit.contract.tables import read_stream
from worthit.process.workspace import PORTS, is_free

ROOT = Path(__file__).resolve().parents[3]
PLUGIN = ROOT / "worthit" / "load" / "plugin" / "worthit_load_plugin_file.py"
"""What `worthit plugin` prints."""
LOCUST = Path(sys.executable).with_name("locust")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stub:
    """A running stub server."""

    process: subprocess.Popen[str]
    url: str

    def seen(self) -> dict[str, Any]:
        """Return what it has counted so far."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=5)
        connection.request("GET", "/__seen")
        found: dict[str, Any] = json.load(connection.getresponse())
        connection.close()
        return found


@contextmanager
def stub_server(*, latency_ms: float = 0.0, status: int = 200) -> Iterator[Stub]:
    """Run the stub server on a free port of 127.0.0.1."""
    script = ROOT / "tests" / "support" / "load" / "stub_server.py"
    process = subprocess.Popen(
        [sys.executable, str(script), "--latency-ms", str(latency_ms), "--status", str(status)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield Stub(process=process, url=f"http://127.0.0.1:{int(process.stdout.readline())}")
    finally:
        process.kill()
        process.wait(5)
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def start_module(module: str, *arguments: str, port: int) -> Iterator[None]:
    """Run a server of ours on a port until it is no longer needed."""
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=ROOT)
    try:
        wait_for(lambda: not is_free(port), f"{module} did not start")
        yield
    finally:
        process.terminate()
        process.wait(20)


def start_locust(
    *arguments: str,
    files: str = "loadtests",
    environment: dict[str, str] | None = None,
    cwd: Path = ROOT,
) -> subprocess.Popen[str]:
    """Start Locust; it ends by itself when its schedule has."""
    return subprocess.Popen(
        [sys.executable, "-m", "locust", "-f", files, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
    )


def end_of(process: subprocess.Popen[str], *, within_seconds: float = 60.0) -> tuple[int, str]:
    """Wait for a process; return its exit code and all that it printed."""
    try:
        output, _ = process.communicate(timeout=within_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        raise AssertionError(f"Locust did not end in {within_seconds} s: {output}") from None
    return process.returncode, output


def code_but_for_lag(code: int, output: str) -> int:
    """Return the exit code that a quiet machine would have seen.

    A busy one may send an arrival so late that the run is INVALID and ends with 4; then all that
    the load's errors say is that, or that a threshold is crossed.
    """
    errors = [line for line in output.splitlines() if "/ERROR/worthit.load" in line]
    late = [line for line in errors if "arrivals were sent late" in line]
    crossed = [line for line in errors if "it is crossed" in line]
    if code != 4 or not late or len(late) + len(crossed) < len(errors):
        return code
    return 3 if crossed else 0


def sleep_until(out: Path, offset_s: float) -> float:
    """Sleep until so long after the schedule's zero; return that zero, in s since the epoch."""
    wait_for((out / "started.json").exists, "Locust did not start")
    zero_s = float(json.loads((out / "started.json").read_text())["t0_ns"]) / 1e9
    time.sleep(max(zero_s + offset_s - time.time(), 0))
    return zero_s


def run_locust(*arguments: str, **options: Any) -> tuple[int, str]:  # noqa: ANN401 - as start_locust
    """Run Locust without its page to its end; return its exit code and all that it printed."""
    return end_of(start_locust("--headless", "--only-summary", *arguments, **options))


def recorded(folder: Path) -> pd.DataFrame:
    """Return the rows of all workers."""
    paths = sorted(folder.glob("requests-*.arrows"))
    return pd.concat([read_stream(path).to_pandas() for path in paths], ignore_index=True)


def write_plan(
    folder: Path,
    blocks: Sequence[dict[str, Any]],
    *,
    scenario: str | None = "chat",
    **rest: object,
) -> Path:
    """Write a plan file and return its path."""
    document = {"run": "test", "seed": 7, "arrivals": "poisson", "scenario": scenario, **rest}
    path = folder / "plan.json"
    path.write_text(json.dumps({**document, "blocks": list(blocks)}), encoding="utf-8")
    return path


def block(
    number: int, *, host: str, start_s: float, duration_s: float, **rest: object
) -> dict[str, Any]:
    """Return one block of a plan file."""
    fixed = {"pair": 0, "arm": "off", "step": 0, "rate_per_s": 50.0, "warmup": False}
    times = {"start_s": start_s, "duration_s": duration_s}
    return {"block": number, **fixed, **times, "host": host, **rest}


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on, and no outgoing connection takes."""
    tried = random.SystemRandom().sample(PORTS, 200)
    return next(port for port in tried if is_free(port))


def wait_for(happened: Callable[[], bool], what: str, *, within_seconds: float = 60.0) -> None:
    """Wait for a sign rather than for a time: on a busy machine Locust may need many seconds."""
    deadline = time.monotonic() + within_seconds
    while not happened():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
