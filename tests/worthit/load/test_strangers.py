"""The load beside what is not ours: listeners, headers, exceptions, a full disk."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.load.locust_process import (
    PLUGIN,
    ROOT,
    block,
    end_of,
    recorded,
    run_locust,
    stub_server,
    write_plan,
)

pytestmark = pytest.mark.integration

THEIRS = """
import gevent
from locust import FastHttpUser, HttpUser, constant, events, task


@events.request.add_listener
def look_at(context, **_):
    print("CONTEXT", sorted(context), flush=True)


@events.quitting.add_listener
def always_well(environment, **_):
    environment.process_exit_code = 0


class Slow(HttpUser):
    wait_time = constant(0.02)

    def on_start(self):
        self.client.headers["Baggage"] = "theirs=1"

    @task
    def look(self):
        self.client.get("/look", context={"mine": 1})

    @task
    def hurry(self):
        with gevent.Timeout(0.01, False):
            self.client.get("/hurry")


class Fast(FastHttpUser):
    wait_time = constant(0.02)
    default_headers = {"baggage": "theirs=2"}

    @task
    def look(self):
        self.client.get("/fast", headers={"Traceparent": PARENT})
"""
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_strangers_locustfile_is_left_as_it_is(tmp_path: Path) -> None:
    """Its context, session headers and spelling stay; what it gives up ends; we judge last."""
    theirs, out = tmp_path / "theirs.py", tmp_path / "out"
    theirs.write_text(THEIRS.replace("PARENT", repr(PARENT)), encoding="utf-8")
    with stub_server(latency_ms=60) as stub:
        code, output = run_locust(
            "--users", "2", "--spawn-rate", "2", "-t", "6s", "--host", stub.url,
            "--worthit-out", str(out), "--threshold", "requests: count>1000000",
            files=f"{theirs},{PLUGIN}",
        )  # fmt: skip
        seen = stub.seen()

    rows = recorded(out)
    contexts = {line for line in output.splitlines() if line.startswith("CONTEXT")}
    given_up = rows[rows["error"].fillna("").str.startswith("Timeout")]
    assert contexts == {"CONTEXT ['mine']", "CONTEXT []"}
    assert code == 3, "a crossed threshold, whatever another listener says"
    assert seen["last"]["baggage"].startswith(("theirs=1,worthit.", "theirs=2,worthit."))
    assert set(given_up["name"]) == {"/hurry"}
    assert given_up["end_ns"].notna().all()
    assert rows["end_ns"].isna().sum() <= 2, "what was given up stayed open"
    assert set(rows.loc[rows["name"] == "/fast", "trace_id"]) == {PARENT.split("-")[1]}


FULL = (
    "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
    f"resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, {resource.RLIM_INFINITY}));"
    "from locust.main import main; main()"
)
"""Locust whose files may hold 30,000 bytes: what is more is refused, as by a full disk."""


def test_a_full_disk_is_told_and_ends_nothing(tmp_path: Path) -> None:
    """All is sent and counted, the run ends by itself and is INVALID; what is written is whole."""
    out = tmp_path / "out"
    with stub_server() as stub:
        blocks = [block(0, host=stub.url, start_s=0.0, duration_s=4.0, rate_per_s=100.0)]
        arguments = (
            *("-f", "loadtests", "--headless", "--only-summary"),
            *("--worthit-plan", str(write_plan(tmp_path, blocks)), "--worthit-out", str(out)),
        )
        process = subprocess.Popen(
            [sys.executable, "-c", FULL, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        )
        code, output = end_of(process)
        seen = stub.seen()

    report = json.loads((out / "generator.json").read_text(encoding="utf-8"))
    (row,) = report["generator"]
    assert code == 4, output
    assert "requests were sent and could not be recorded" in output
    assert (report["verdict"], row["dropped"]) == ("INVALID", 0)
    assert row["arrivals_sent"] == row["requests"] == seen["requests"]
    assert 0 < report["rows_lost"] == seen["requests"] - len(recorded(out))
    assert len(recorded(out)) > 0
