"""``locust -f loadtests``: its list, its scenarios, its exit codes, its end."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.checks.run_checks import Level, about_generator
from analysis.rundir.manifest import parse
from tests.support.load.locust_process import (
    block,
    code_but_for_lag,
    end_of,
    recorded,
    run_locust,
    sleep_until,
    start_locust,
    stub_server,
    write_plan,
)
from worthit.contract.scenario_arguments import ARGUMENTS, SCENARIOS

pytestmark = pytest.mark.integration

QUIET = ("--headless", "--only-summary")
OF_EVERY_RUN = {
    *("arrival_rate", "duration", "arrivals", "load_seed", "replay", "max_in_flight"),
    *("worthit_plan", "worthit_out", "worthit_run", "worthit_arm", "worthit_first_block"),
    *("threshold", "recorder", "calibrate"),
}
"""Arguments, without their dashes, that are no scenario's."""


def test_the_list_shows_exactly_the_scenarios() -> None:
    """``locust -f loadtests --list`` names the seven scenarios and nothing else."""
    code, output = end_of(start_locust("--list"))

    listed = output.split("Available Users:")[1].splitlines()
    assert (code, {line.strip() for line in listed if line.startswith("    ")}) == (
        0,
        set(SCENARIOS),
    )


def test_every_scenario_speaks_the_services_language(tmp_path: Path) -> None:
    """All scenarios together send what the service understands, each with trace and baggage."""
    with stub_server() as stub:
        code, output = run_locust(
            "--host", stub.url, "--arrival-rate", "120", "--duration", "2s",
            "--write-fraction", "0.5", "--worthit-out", str(tmp_path / "out"), "--html",
            str(tmp_path / "report.html"), "--csv", str(tmp_path / "table"),
        )  # fmt: skip
        seen = stub.seen()

    rows = recorded(tmp_path / "out")
    assert code_but_for_lag(code, output) == 0, output
    assert set(rows["scenario"]) == set(SCENARIOS)
    assert len(rows) == seen["requests"] == len(set(seen["draws"]))
    assert seen["without_traceparent"] == 0
    kinds = {path.replace("/elara", "/p").rpartition("/p")[0] or path for path in seen["paths"]}
    assert kinds == {"POST /chat", "GET /personalities", "PUT /personalities"}
    assert seen["last"]["traceparent"].split("-")[1] in set(rows["trace_id"])
    assert "/chat (abuser)" in (tmp_path / "table_stats.csv").read_text()
    assert "<html" in (tmp_path / "report.html").read_text()


def test_each_exit_code_has_its_cause(tmp_path: Path) -> None:
    """0 done, 1 requests failed, 2 asked wrongly, 3 a threshold is crossed, 4 INVALID."""
    wrong_plan = write_plan(tmp_path, [block(0, host="x", start_s=0, duration_s=-1)])
    capped, late = tmp_path / "capped", tmp_path / "late"
    with (
        stub_server(latency_ms=40) as stub,
        stub_server(status=500) as broken,
        stub_server(latency_ms=150) as slow,
    ):
        rate = ("--arrival-rate", "20", "--duration", "2s", "--host")
        runs = {
            "done": (*rate, broken.url, "--exit-code-on-error", "0"),
            "failed": (*rate, broken.url),
            "crossed": (*rate, stub.url, "--threshold", "http_req_duration{name:/chat}: avg<30"),
            "missed": (
                *rate, slow.url, "--arrival-rate", "60", "--max-in-flight", "5",
                "--worthit-out", str(capped),
            ),
            "stood still": (*rate, stub.url, "--duration", "8s", "--worthit-out", str(late)),
            "wrong": ("--worthit-plan", str(wrong_plan)),
        }  # fmt: skip
        started = {name: start_locust(*QUIET, "chat", *args) for name, args in runs.items()}
        sleep_until(late, 0.3)
        started["stood still"].send_signal(signal.SIGSTOP)
        time.sleep(0.9)
        started["stood still"].send_signal(signal.SIGCONT)
        ended = {name: end_of(process) for name, process in started.items()}
        seen = slow.seen()

    codes = {name: code for name, (code, _) in ended.items()}
    assert codes.pop("failed") in {1, 4}, ended["failed"]  # 4 where this machine was late too
    for name in ("done", "crossed"):
        codes[name] = code_but_for_lag(*ended[name])
    expected = {"done": 0, "crossed": 3, "missed": 4, "stood still": 4, "wrong": 2}
    assert codes == expected, ended
    says = {
        "done": "Step 0: offered",
        "failed": "requests failed. They count in the times above",
        "crossed": "it is crossed",
        "stood still": "the generator stood still or was short of CPU",
        "missed": "use more workers, a lower rate or a higher --max-in-flight",
        "wrong": "block 0 has duration_s -1; a number from 0 up was expected",
    }
    for name, words in says.items():
        assert words in ended[name][1], ended[name][1]
        assert "Traceback" not in ended[name][1]
    assert "differ because the cap on requests in flight sent late" in ended["missed"][1]
    check_the_cap(capped, seen)
    check_the_standstill(late)


def check_the_cap(out: Path, seen: dict[str, Any]) -> None:
    """With a cap of 5 the server never saw more at once, and every hit of the cap is counted."""
    generator = json.loads((out / "generator.json").read_text())["generator"][0]
    rows = recorded(out)
    service_ms = (rows["end_ns"] - rows["sent_ns"]) / 1e6
    response_ms = (rows["end_ns"] - rows["intended_ns"]) / 1e6
    assert seen["in_flight_max"] == generator["in_flight_max"] == 5
    assert generator["in_flight_cap_hits"] > 20
    assert generator["arrivals_sent"] == generator["arrivals_planned"] == len(rows)
    assert np.quantile(response_ms, 0.9) > 3 * np.quantile(service_ms, 0.9)


def check_the_standstill(out: Path) -> None:
    """All was sent in the end: only the schedule delay tells, to the load and to the run."""
    document = json.loads((out / "generator.json").read_text())
    row, rows, verdict = document["generator"][0], recorded(out), document.pop("verdict")
    manifest = parse({**document, "format_version": 1, "run_id": "late"})
    issues = about_generator(manifest, rows, rows)
    assert (verdict, row["dropped"]) == ("INVALID", 0)
    assert row["achieved_per_s"] > 0.99 * row["offered_per_s"]
    assert row["lag_max_ms"] > 500
    assert [issue.level for issue in issues] == [Level.INVALID]
    assert "rrivals were sent late" in issues[0].sentence


def test_an_interrupted_run_loses_nothing(tmp_path: Path) -> None:
    """Ctrl-C in mid-run: every request the server saw is a row, unfinished ones without end."""
    out = tmp_path / "out"
    with stub_server(latency_ms=700) as stub:
        plan = write_plan(tmp_path, [block(0, host=stub.url, start_s=0.0, duration_s=30.0)])
        locust = start_locust(
            *QUIET, "--worthit-plan", str(plan), "--worthit-out", str(out)
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while stub.seen()["requests"] < 60 and time.monotonic() < deadline:
            time.sleep(0.1)
        locust.send_signal(signal.SIGINT)
        code, output = end_of(locust)
        seen = stub.seen()

    rows = recorded(out)
    assert code == 4, output
    assert "stopped before its schedule ended" in output
    unended = int(rows["end_ns"].isna().sum())
    assert len(rows) - unended <= seen["requests"] <= len(rows)
    assert 0 < unended < len(rows)
    assert set(rows.loc[rows["end_ns"].isna(), "error"]) == {"stopped before it ended"}


def test_a_recorded_run_is_replayed(tmp_path: Path) -> None:
    """A replay wants its requests at the recorded distances, to the nanosecond."""
    out = tmp_path / "out"
    intended = 1_795_000_000_000_000_000 + np.sort(np.random.default_rng(7).integers(0, 10**9, 60))
    pd.DataFrame({"intended_ns": intended}).to_parquet(tmp_path / "requests.parquet")
    with stub_server() as stub:
        code, output = run_locust(
            "personality_lookup", "--host", stub.url, "--arrivals", "replay",
            "--replay", str(tmp_path), "--worthit-out", str(out),
        )  # fmt: skip

    again = recorded(out).sort_values("intended_ns")
    assert code in {0, 4}, output
    assert np.diff(again["intended_ns"]).tolist() == np.diff(intended).tolist()


def test_every_knob_has_its_help() -> None:
    """``worthit plugin --arguments`` explains every argument, which ``locust --help`` cannot."""
    shown = subprocess.run(
        [sys.executable, "-m", "worthit.load"], capture_output=True, text=True, check=True
    ).stdout

    words = " ".join(shown.split())
    flags = {flag[2:].replace("-", "_") for flag in re.findall(r"--[a-z-]+", shown)}
    own = flags - OF_EVERY_RUN
    assert own == set(ARGUMENTS)
    for flag in ("--cold-fraction", "--abuse-fraction", "--write-fraction", "--questions-each"):
        assert flag in words
    assert "Arrivals per second, independent of responses" in words
