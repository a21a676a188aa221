"""`--jaeger`: a Jaeger is found, started with traces passed on to it, and gone afterwards."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from analysis import traces
from tests.support.project.source_tree import ROOT
from worthit.environment.jaeger import find_jaeger
from worthit.errors import UsageError

pytestmark = pytest.mark.integration


@pytest.fixture(name="stand_in")
def _stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """JAEGER_BIN is the stand-in; gives the file that it writes what it received to."""
    program = tmp_path / "jaeger"
    script = ROOT / "tests/support/servers/jaeger_stand_in.py"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n', encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("JAEGER_BIN", str(program))
    monkeypatch.setenv("STAND_IN_RECEIVED", str(tmp_path / "received"))
    return tmp_path / "received"


NOBODY = "http://127.0.0.1:9"
"""The port `discard`, where nobody listens."""


def chat(address: str) -> int:
    """One message to the service; the status."""
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{address}/chat",
        b'{"message": "Hi", "personality_name": "elara"}',
        {"X-User-Id": "u00000", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as reply:  # noqa: S310 - loopback
        status: int = reply.status
    return status


def addresses(up: subprocess.Popen[str]) -> dict[str, str]:
    """What `worthit up` prints, by name, up to its last line."""
    assert up.stdout is not None
    found = {}
    for line in up.stdout:
        name, _, rest = line.partition("  ")
        found[name] = rest.strip()
        if line.startswith("Stop it"):
            break
    return found


def wait_for(file: Path) -> str:
    """The content of a file that another process is about to make; empty when it does not."""
    deadline = time.monotonic() + 15
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return file.read_text(encoding="utf-8") if file.exists() else ""


def test_up_with_jaeger_sends_traces_to_both(stand_in: Path, tmp_path: Path) -> None:
    """`worthit up --jaeger` starts JAEGER_BIN; a chat's trace is there and in the file.

    An endpoint that is named besides, and is down, is said to get a copy and does no harm. Closing
    the terminal ends it all in order.
    """
    traces_file = tmp_path / "traces.otlp"
    words = [sys.executable, "-m", "worthit", "up", "--jaeger", "--traces", str(traces_file)]
    environ = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": NOBODY}
    with subprocess.Popen(words, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True) as up:
        try:
            printed = addresses(up)
            with urllib.request.urlopen(printed["Jaeger"]) as page:  # noqa: S310 - local
                assert page.status == 200
            assert chat(printed["service"]) == 200
            passed_on = wait_for(stand_in)
        finally:
            up.send_signal(signal.SIGHUP)
            code = up.wait(30)

    assert code == 0
    assert printed["copied to"] == NOBODY
    assert passed_on.startswith("/v1/traces ")
    assert "POST /chat" in set(traces.read(traces_file)["name"])


def test_without_a_jaeger_the_sentence_says_what_to_do(tmp_path: Path) -> None:
    """No binary: the message names JAEGER_BIN and the way without one."""
    with pytest.raises(UsageError, match=r"name it in JAEGER_BIN, or leave out --jaeger"):
        find_jaeger({"PATH": str(tmp_path)})


def test_a_wrong_jaeger_bin_is_said(tmp_path: Path) -> None:
    """A JAEGER_BIN that cannot be run is named, whatever is on PATH."""
    with pytest.raises(UsageError, match=r"JAEGER_BIN names .*/nothing, which is not there"):
        find_jaeger({"PATH": os.defpath, "JAEGER_BIN": str(tmp_path / "nothing")})
