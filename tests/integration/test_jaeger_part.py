"""`--jaeger`: a Jaeger is found, started with traces passed on to it, and gone afterwards."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from harness.errors import UsageError
from harness.parts.jaeger import Jaeger, find_jaeger
from harness.parts.recorder import Recorder
from harness.workspace import Workspace
from tests.support.source_tree import ROOT

pytestmark = pytest.mark.integration


@pytest.fixture(name="stand_in")
def _stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """JAEGER_BIN is the stand-in; gives the file that it writes what it received to."""
    program = tmp_path / "jaeger"
    script = ROOT / "tests/support/jaeger_stand_in.py"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n', encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("JAEGER_BIN", str(program))
    monkeypatch.setenv("STAND_IN_RECEIVED", str(tmp_path / "received"))
    return tmp_path / "received"


def one_span() -> bytes:
    """A message with one span."""
    scope = ScopeSpans(spans=[Span(trace_id=b"1" * 16, span_id=b"2" * 8, name="x")])
    message = ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[scope])])
    return message.SerializeToString()


def post(endpoint: str, body: bytes) -> int:
    """Send one message; the status."""
    headers = {"Content-Type": "application/x-protobuf"}
    request = urllib.request.Request(f"{endpoint}/v1/traces", body, headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=5) as reply:  # noqa: S310 - loopback
        status: int = reply.status
    return status


def wait_for(file: Path) -> None:
    """Wait until another process has made the file."""
    deadline = time.monotonic() + 10
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)


async def test_what_the_recorder_gets_jaeger_gets_too(stand_in: Path) -> None:
    """A batch sent to the recorder is in its file and at Jaeger; the page answers; both end."""
    async with (
        Workspace() as workspace,
        Jaeger(workspace, find_jaeger(os.environ)) as jaeger,
        Recorder(workspace, forward_traces=jaeger.endpoint) as recorder,
    ):
        page = await asyncio.to_thread(urllib.request.urlopen, jaeger.url, None, 5)
        sent = await asyncio.to_thread(post, recorder.endpoint, one_span())
        assert (200, 200) == (page.status, sent)
        await asyncio.to_thread(wait_for, stand_in)
        assert recorder.path.stat().st_size == len(one_span()) + 1
        processes = workspace.processes
        page.close()

    passed_on = await asyncio.to_thread(stand_in.read_text)
    assert passed_on.startswith("/v1/traces ")
    assert [process.returncode is not None for process in processes] == [True, True]


def test_without_a_jaeger_the_sentence_says_what_to_do(tmp_path: Path) -> None:
    """No binary: the message names JAEGER_BIN and the way without one."""
    with pytest.raises(UsageError, match=r"name it in JAEGER_BIN, or leave out --jaeger"):
        find_jaeger({"PATH": str(tmp_path)})


def test_a_wrong_jaeger_bin_is_said(tmp_path: Path) -> None:
    """A JAEGER_BIN that cannot be run is named, whatever is on PATH."""
    with pytest.raises(UsageError, match=r"JAEGER_BIN names .*/nothing, which is not there"):
        find_jaeger({"PATH": os.defpath, "JAEGER_BIN": str(tmp_path / "nothing")})
