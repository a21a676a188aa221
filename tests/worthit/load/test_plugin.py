"""The plugin on somebody's own locustfile: nothing of it was written for us."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.load.locust_process import (
    ROOT,
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
                files=f"{theirs},{ROOT / 'worthit' / 'load' / 'plugin.py'}", cwd=tmp_path,
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
    assert code == 0, output
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
