"""`worthit up` prints lines that work as they are: each is pasted into a shell here."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.project.source_tree import ROOT

pytestmark = pytest.mark.integration

WORDS = [sys.executable, "-m", "worthit", "up"]


@pytest.fixture(name="printed", scope="module")
def _printed() -> Iterator[list[str]]:
    """What `worthit up` prints while it is up."""
    with subprocess.Popen(WORDS, cwd=ROOT, stdout=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        try:
            lines = []
            for line in up.stdout:
                lines.append(line.rstrip("\n"))
                if line.startswith("Stop it"):
                    break
            yield lines
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(30)


def pasted(line: str, more: str = "", stdin: str = "") -> str:
    """What a shell prints for a line of those printed, without what stands before the command."""
    return subprocess.run(
        ["bash", "-c", line[12:] + more],
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout


def test_the_clients_open_the_database_and_the_cache(printed: list[str]) -> None:
    """The psql line asks the service's own tables; redis-cli is let in with the password."""
    psql = next(line for line in printed if line.startswith("Look:"))
    redis = printed[printed.index(psql) + 1]

    assert pasted(psql, " -At -c 'SELECT count(*) > 1000 FROM personalities'") == "t\n"
    assert pasted(redis, " ping") == "PONG\n"


def test_the_write_ups_checks_find_what_they_look_for(printed: list[str]) -> None:
    """A chat's cache hit is in a log that is named, and the check of the cache measures it."""
    chat = next(line for line in printed if line.startswith("Try it:"))
    check = next(line for line in printed if line.startswith("Check it:"))
    logs = [Path(line[12:]) for line in printed if line.endswith(".log")]

    pasted(chat)
    pasted(chat)
    said = "".join(log.read_text(encoding="utf-8") for log in logs if "service" in log.name)

    assert {log.name for log in logs} >= {"postgres.log", "redis.log", "service-0.log"}
    assert "cache" in said.lower()
    assert "median" in pasted(check)


def test_the_load_line_names_the_recorder(printed: list[str]) -> None:
    """So that the load's own spans are recorded with the service's."""
    recorder = next(line for line in printed if line.startswith("recorder"))
    load = next(line for line in printed if line.startswith("Load it:"))

    assert f"--recorder {recorder.split()[1]}" in load


def test_a_port_in_use_is_said_before_anything_is_filled() -> None:
    """It takes seconds to fill the database; a port that is taken is known at once."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [*WORDS, "--port", str(port)],
            cwd=ROOT,
            env=dict(os.environ),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert ended.returncode == 1
    assert f"The port {port} of 127.0.0.1 is in use" in ended.stderr
    assert "starting" not in ended.stderr
