from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).parents[2] / "support" / "servers" / "worthit_to_end.py"

GONE_SECONDS = 20.0
"""A noisy machine's allowance; an idle one needs less than one."""


@dataclass
class Started:
    """A worthit process under way and all that it started."""

    process: subprocess.Popen[str]
    path: Path
    pids: list[int]
    half_written: Path


@pytest.fixture(name="start")
def _start(tmp_path: Path) -> Iterator[Callable[[str], Started]]:
    """Start worthit in a mode and read what it started."""
    started: list[subprocess.Popen[str]] = []
    # Unprivileged PostgreSQL must reach its data: pytest's own folders are closed to others.
    root = Path("/var/tmp") if os.geteuid() == 0 else tmp_path  # noqa: S108 - see above
    half_written = tmp_path / ".half-written"

    def start(mode: str) -> Started:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), mode],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            cwd=Path(__file__).parents[3],
            env={
                **os.environ,
                "TMPDIR": str(root),
                "HALF_WRITTEN": str(half_written),
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
        )
        started.append(process)
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        below = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        if mode in {"success", "failure"}:  # it may have ended while we looked
            below = []
        return Started(process, Path(said["path"]), sorted({*said["pids"], *below}), half_written)

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def what_is_left(started: Started) -> list[str]:
    """Whatever of worthit can still be found, in words."""
    left = [f"file {path}" for path in (started.path, started.half_written) if path.exists()]
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        command = " ".join(process.info["cmdline"] or [])
        zombie = process.info["status"] == psutil.STATUS_ZOMBIE
        if not zombie and (process.info["pid"] in started.pids or str(started.path) in command):
            left.append(f"process {process.info['pid']} {command}")
    left += [f"shared memory {line}" for line in shared_memory_of(started.pids)]
    return left


def shared_memory_of(pids: list[int]) -> list[str]:
    """System V segments that one of these processes made: they would outlive it."""
    table = Path("/proc/sysvipc/shm")
    if not table.exists():
        return []
    lines = table.read_text(encoding="ascii").splitlines()[1:]
    return [line for line in lines if int(line.split()[4]) in pids]


def assert_nothing_left(started: Started) -> None:
    """Wait for the end of everything, but not for ever."""
    deadline = time.monotonic() + GONE_SECONDS
    while (left := what_is_left(started)) and time.monotonic() < deadline:
        time.sleep(0.05)

    assert left == []


@pytest.mark.parametrize("mode", ["success", "failure"])
def test_an_end_of_its_own_leaves_nothing(start: Callable[[str], Started], mode: str) -> None:
    """After a run that ends by itself, well or not, no process and no file remains."""
    started = start(mode)
    code = started.process.wait(GONE_SECONDS)

    assert code == {"success": 0, "failure": 1}[mode]
    assert_nothing_left(started)


def test_a_sigterm_leaves_nothing(start: Callable[[str], Started]) -> None:
    """After a SIGTERM no process and no file remains; Ctrl-C see below."""
    started = start("wait")
    assert len(what_is_left(started)) > len(started.pids)  # they are found while they live

    started.process.terminate()

    started.process.wait(GONE_SECONDS)
    assert_nothing_left(started)


def test_paused_parts_do_not_outlive_a_killed_worthit(start: Callable[[str], Started]) -> None:
    """A PostgreSQL frozen by a fault goes too when worthit is killed."""
    started = start("paused")

    started.process.kill()

    started.process.wait(GONE_SECONDS)
    assert_nothing_left(started)


def test_two_at_once_keep_apart(start: Callable[[str], Started]) -> None:
    """SIGKILL to one worthit's process group leaves nothing of it and takes nothing of another's.

    A Ctrl-C then ends the other as cleanly.
    """
    first = start("wait")
    other = start_beside(start, first)

    os.killpg(first.process.pid, signal.SIGKILL)  # as a terminal or a CI system does
    first.process.wait(GONE_SECONDS)
    assert_nothing_left(first)

    alive = [pid for pid in other.pids if psutil.pid_exists(pid)]
    assert alive == other.pids
    assert other.path.exists()
    other.process.send_signal(signal.SIGINT)
    other.process.wait(GONE_SECONDS)
    assert_nothing_left(other)


def start_beside(start: Callable[[str], Started], first: Started) -> Started:
    """A second worthit process; the first one's half-written folder makes room for its own."""
    first.half_written.rmdir()
    other = start("wait")
    assert other.path != first.path
    return other
