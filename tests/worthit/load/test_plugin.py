"""The plugin on somebody's own locustfile: nothing of it was written for us."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.load.locust_process import (
    PLUGIN,
    Stub,
    end_of,
    free_port,
    recorded,
    start_locust,
    stub_server,
)
from tests.support.servers.otlp_receiver import receiver

pytestmark = pytest.mark.integration

THEIRS = """
from locust import FastHttpUser, HttpUser, constant, task


class Slow(HttpUser):
    wait_time = constant(0.02)

    @task
    def look(self):
        self.client.get("/slow", name="look")

    @task
    def post(self):
        with self.client.post("/form", json={"a": 1}, catch_response=True) as response:
            response.failure("I do not like it")


class Fast(FastHttpUser):
    wait_time = constant(0.02)

    @task
    def look(self):
        self.client.get("/fast", headers={"baggage": "theirs=1"})

    @task
    def own_trace(self):
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        self.client.get("/own", headers={"traceparent": parent})
"""


def wait_for_requests(stub: Stub, count: int) -> None:
    """Wait until the server has seen so many requests."""
    deadline = time.monotonic() + 30
    while stub.seen()["requests"] < count and time.monotonic() < deadline:
        time.sleep(0.1)


async def test_every_request_of_a_strangers_locustfile_is_traced_and_recorded(
    tmp_path: Path,
) -> None:
    """Two workers, ended by SIGTERM: trace, baggage, span and row for each request, none lost."""
    theirs = tmp_path / "theirs.py"
    theirs.write_text(THEIRS, encoding="utf-8")
    out, port = tmp_path / "out", str(free_port())
    async with receiver() as collector:
        with stub_server(latency_ms=30) as stub:
            locust = start_locust(
                "--headless", "--only-summary", "--users", "8", "--spawn-rate", "8",
                "--processes", "2", "--master-bind-port", port,
                "--master-port", port, "--host", stub.url, "--worthit-out", str(out),
                "--worthit-run", "nightly", "--worthit-arm", "canary",
                "--threshold", "requests: count>100",
                files=f"{theirs},{PLUGIN}", cwd=tmp_path,
                environment={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url},
            )  # fmt: skip
            await asyncio.to_thread(wait_for_requests, stub, 200)
            locust.send_signal(signal.SIGTERM)
            code, output = await asyncio.to_thread(end_of, locust)
            seen = stub.seen()

    rows = recorded(out)
    unended = int(rows["end_ns"].isna().sum())
    # a request that the end of the test killed may or may not have reached the server
    assert len(rows) - unended <= seen["requests"] <= len(rows), output
    assert unended <= 8
    # the master says so only when every worker's last rows are in
    assert f"{len(rows)} in {len(rows)} requests, it holds" in output
    assert code == 1, output  # as stock Locust ends where requests fail: /form does
    assert seen["without_traceparent"] == 0
    assert rows["draw"].is_unique
    ended = rows["end_ns"].notna()
    sent = Counter(span.trace_id.hex() for span in collector.spans)
    assert sent == Counter(rows.loc[ended, "trace_id"]), (
        "a span is missing, or there is one too many"
    )
    assert {span.kind for span in collector.spans} == {Span.SPAN_KIND_CLIENT}
    own = rows["name"] == "/own"
    assert rows.loc[~own, "trace_id"].is_unique
    assert set(rows.loc[own, "trace_id"]) == {"0af7651916cd43dd8448eb211c80319c"}
    assert set(rows["scenario"]) == {"Slow", "Fast"}
    assert set(rows["name"]) == {"look", "/form", "/fast", "/own"}
    assert set(rows["arm"]) == {"canary"}
    assert set(rows.loc[(rows["name"] == "/form") & ended, "error"]) == {
        "CatchResponseError: I do not like it"
    }
    assert (rows.loc[ended, "end_ns"] - rows.loc[ended, "sent_ns"]).min() >= 30_000_000
    assert "worthit.run=nightly" in seen["last"]["baggage"]
    assert {text.partition(":")[0] for text in seen["draws"]} == {"canary"}


THEIR_MODULES = (
    *("plugin", "worthit_plugin", "schedule", "install", "arguments", "page", "scenarios"),
    *("loadtests", "analysis", "harness", "tests", "rows"),
)
"""Names that modules of somebody else's repository may well have."""

IMPORTS_THEM_ALL = """
import sys
from pathlib import Path

import {names}
from locust import HttpUser, constant, events, task


class Theirs(HttpUser):
    wait_time = constant(0.02)

    @task
    def look(self):
        self.client.get("/look")


@events.test_start.add_listener
def tell(environment, **_):
    import worthit

    here, ours = str(Path(__file__).parent), str(Path(worthit.__file__).parent)
    files = {{name: getattr(sys.modules[name], "__file__", None) or "" for name in sys.modules}}
    missed = [name for name in "{names}".split(", ") if not files[name].startswith(here)]
    on_top = [name for name in files if "." not in name and files[name].startswith(ours)]
    leftover = [folder for folder in sys.path if folder.startswith(ours)]
    print("TOLD", type(environment.runner).__name__, missed, sorted(on_top), leftover, flush=True)
"""


@pytest.mark.parametrize("order", ["theirs first", "plugin first"])
def test_modules_of_a_strangers_repository_stay_theirs(tmp_path: Path, order: str) -> None:
    """In master and worker, the plugin hides none of their modules and is hidden by none."""
    for name in THEIR_MODULES:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text("", encoding="utf-8")
    theirs, out, port = tmp_path / "locustfile.py", tmp_path / "out", str(free_port())
    names = ", ".join(THEIR_MODULES)
    theirs.write_text(IMPORTS_THEM_ALL.format(names=names), encoding="utf-8")
    files = f"{theirs},{PLUGIN}" if order == "theirs first" else f"{PLUGIN},{theirs}"
    with stub_server() as stub:
        locust = start_locust(
            "--headless", "--only-summary", "--users", "2", "--spawn-rate", "2", "-t", "6s",
            "--processes", "1", "--master-bind-port", port, "--master-port", port,
            "--host", stub.url, "--worthit-out", str(out), files=files, cwd=tmp_path,
        )  # fmt: skip
        code, output = end_of(locust)
        seen = stub.seen()

    told = {line for line in output.splitlines() if line.startswith("TOLD")}
    on_top = "['worthit', 'worthit_load_plugin_file']"
    assert told == {f"TOLD {kind} [] {on_top} []" for kind in ("MasterRunner", "WorkerRunner")}
    assert code == 0, output
    assert "Traceback" not in output
    assert len(recorded(out)) >= seen["requests"] > 0
    assert seen["without_traceparent"] == 0


def test_the_plugin_file_lies_alone() -> None:
    """Locust puts the file's folder on ``sys.path``: nothing else in it can be imported."""
    names = [path.name for path in PLUGIN.parent.iterdir() if path.name != "__pycache__"]

    assert names == [PLUGIN.name]


def test_importing_the_public_names_imports_locust_only_for_the_user_class() -> None:
    """Only who asks for ``OpenLoopUser`` gets Locust, which patches the sockets of its process."""
    code = (
        "import sys; from worthit.load import Arrival, fraction_from_0_to_1\n"
        "before = 'locust' in sys.modules; from worthit.load import OpenLoopUser\n"
        "print(before, 'locust' in sys.modules)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout

    assert shown.split() == ["False", "True"]
