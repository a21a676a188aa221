"""`worthit record` as docs/own-service.md has it: around a script, beside a running service."""

from __future__ import annotations

import json
import stat
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from analysis.rundir.run import open_run
from worthit.__main__ import main
from worthit.process.workspace import Workspace

pytestmark = pytest.mark.integration

SPANS = 7


def message() -> bytes:
    """What a service of somebody's exports: seven requests of 20 ms, just now."""
    now = time.time_ns()
    spans = [
        Span(
            trace_id=number.to_bytes(16, "big"),
            span_id=number.to_bytes(8, "big"),
            name="GET /cart",
            kind=Span.SPAN_KIND_SERVER,
            start_time_unix_nano=now + number * 10**6,
            end_time_unix_nano=now + number * 10**6 + 20 * 10**6,
        )
        for number in range(1, SPANS + 1)
    ]
    resource = ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])
    name = KeyValue(key="service.name", value=AnyValue(string_value="checkout"))
    resource.resource.attributes.append(name)
    return ExportTraceServiceRequest(resource_spans=[resource]).SerializeToString()


def post(endpoint: str, body: bytes) -> None:
    """Send it as an SDK does."""
    headers = {"Content-Type": "application/x-protobuf"}
    request = urllib.request.Request(f"{endpoint}/v1/traces", body, headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310 - loopback
        assert reply.status == 200


def recorded(printed: str) -> list[str]:
    """Names of the services' spans in the run directory that was printed."""
    run = open_run(json.loads(printed)["run"])
    assert set(run.spans["service"]) == {"checkout"}
    return list(run.spans["name"])


def test_a_script_and_its_children_are_led_to_the_recorder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`worthit record --name checkout -- ./start-and-load.sh` makes a run of what it exported."""
    (tmp_path / "message").write_bytes(message())
    script = tmp_path / "start-and-load.sh"
    send = (
        "import os, urllib.request as u; u.urlopen(u.Request("
        "os.environ['OTEL_EXPORTER_OTLP_ENDPOINT'] + '/v1/traces', open('message', 'rb').read(),"
        " {'Content-Type': 'application/x-protobuf'}))"
    )
    script.write_text(f'#!/bin/sh\n"{sys.executable}" -c "{send}"\n', encoding="utf-8")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)

    monkeypatch.chdir(tmp_path)
    code = main(["record", "--json", "--name", "checkout", "--", "./start-and-load.sh"])

    said = capfd.readouterr()
    assert code == 0, said.err
    assert recorded(said.out) == ["GET /cart"] * SPANS


def test_a_running_service_is_recorded_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`worthit record --for SECONDS --name checkout` takes what comes and ends by itself."""
    with Workspace() as workspace:
        http, grpc = workspace.free_port(), workspace.free_port()
    sender = threading.Thread(target=lambda: _when_it_answers(f"http://127.0.0.1:{http}"))
    sender.start()
    ports = ["--http-port", str(http), "--grpc-port", str(grpc)]
    monkeypatch.chdir(tmp_path)
    code = main(["record", "--json", "--for", "2", "--name", "checkout", *ports])
    sender.join()

    said = capfd.readouterr()
    assert code == 0, said.err
    assert recorded(said.out) == ["GET /cart"] * SPANS


def _when_it_answers(endpoint: str) -> None:
    """Send once somebody listens."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            return post(endpoint, message())
        except OSError:
            time.sleep(0.1)
    return None
