"""Child processes and the workspace that holds them."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from worthit.errors import PartError, WorthitError
from worthit.process.supervision import Process, Ready
from worthit.process.workspace import LOCK_NAME, PREFIX, Workspace, sweep

STUBBORN = (
    "import signal, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print('ready', flush=True)\n"
    "time.sleep(600)"
)
PARENT = (
    "import subprocess, time\n"
    "subprocess.Popen(['sleep', '600'])\n"
    "print('ready', flush=True)\n"
    "time.sleep(600)"
)
PATIENCE_SECONDS = 10.0


def wait_for(true: Callable[[], bool]) -> None:
    """Wait until it is so, but not for ever."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def says_ready(log: Path) -> Ready:
    """A question to the child's log: has it printed that it is ready?"""

    async def ask() -> bool:
        return log.exists() and "ready" in log.read_text(encoding="utf-8")  # noqa: ASYNC240 - tiny

    return ask


async def start(workspace: Workspace, program: str) -> Process:
    """Start a Python program that prints `ready`."""
    argv = [sys.executable, "-c", program]
    ready = says_ready(workspace.logs / "child.log")
    return await workspace.start("child", argv, ready=ready)


async def test_a_process_that_ignores_sigterm_is_killed_after_its_grace() -> None:
    """Stopping a deaf process takes its grace and then works."""
    async with Workspace() as workspace:
        process = await start(workspace, STUBBORN)

        await process.stop(grace_seconds=0.1)

        assert process.returncode == -signal.SIGKILL


async def test_a_stopped_process_takes_its_children_with_it() -> None:
    """What a child has started itself ends with the child."""
    async with Workspace() as workspace:
        process = await start(workspace, PARENT)
        below = process.tree()[1:]

        await process.stop()

        assert len(below) == 1
        assert not below[0].is_running()


async def test_a_paused_process_stands_still_until_resumed() -> None:
    """Pausing stops the child and its children, resuming continues both."""
    async with Workspace() as workspace:
        process = await start(workspace, PARENT)

        process.pause()
        wait_for(lambda: {p.status() for p in process.tree()} == {psutil.STATUS_STOPPED})
        process.resume()
        wait_for(lambda: psutil.STATUS_STOPPED not in {p.status() for p in process.tree()})

        assert process.alive


async def test_a_paused_process_can_be_stopped() -> None:
    """A stop reaches a frozen process too, without waiting for its grace."""
    async with Workspace() as workspace:
        process = await start(workspace, PARENT)
        process.pause()

        await process.stop()

        assert process.returncode == -signal.SIGTERM


async def test_a_process_that_ends_at_its_start_is_quoted() -> None:
    """Its exit code and last output are in the sentence."""
    async with Workspace() as workspace:
        with pytest.raises(PartError) as raised:
            await start(workspace, "import sys; sys.exit('no such luck')")

    assert str(raised.value) == (
        "child ended at its start with exit code 1; last output: no such luck."
    )


async def test_a_process_that_never_gets_ready_is_given_up_and_ended() -> None:
    """After the timeout a sentence, and no process."""
    async with Workspace() as workspace:
        with pytest.raises(PartError, match=r"not ready within 0\.2 s; it printed nothing"):
            await workspace.start(
                "child",
                ["sleep", "600"],
                ready=says_ready(Path("/nonexistent")),
                timeout_seconds=0.2,
            )

        assert not workspace.processes[0].alive


async def test_a_missing_program_is_a_sentence() -> None:
    """What cannot be executed is named, with what to do."""
    async with Workspace() as workspace:
        with pytest.raises(PartError) as raised:
            await workspace.start("tool", ["/nonexistent/tool"])

    assert str(raised.value) == (
        "tool could not be started: /nonexistent/tool: No such file or directory; "
        "reinstall the project's dependencies and try again."
    )


def test_a_workspace_removes_its_folder_and_ends_its_guard() -> None:
    """After the block neither folder nor guard is left."""
    before = set(psutil.Process().children())
    with Workspace() as workspace:
        folder = workspace.path
        guard = set(psutil.Process().children()) - before
        assert folder.is_dir()

    assert len(guard) == 1
    assert not folder.exists()
    assert not any(process.is_running() for process in guard)


def test_a_folder_that_a_dead_worthit_left_is_swept(tmp_path: Path) -> None:
    """An unheld lock marks a leftover; what another holds, and what is not ours, stays."""
    left, foreign = tmp_path / f"{PREFIX}left", tmp_path / f"{PREFIX}foreign"
    for folder in (left, foreign):
        folder.mkdir()
    (left / LOCK_NAME).touch()

    with Workspace() as workspace:
        live = tmp_path / f"{PREFIX}live"
        live.symlink_to(workspace.path)
        removed = sweep(tmp_path)

        assert workspace.path.is_dir()

    assert removed == [left]
    assert not left.exists()
    assert foreign.is_dir()


def test_free_ports_differ_and_are_free() -> None:
    """No port is given twice, and none that somebody listens on."""
    with Workspace() as workspace:
        ports = [workspace.free_port() for _ in range(50)]

    listening = {c.laddr.port for c in psutil.net_connections("tcp") if c.status == "LISTEN"}
    assert len(set(ports)) == 50
    assert not listening & set(ports)
    assert max(ports) < 32_768  # below Linux's ephemeral ports


def test_a_workspace_that_is_not_open_says_so() -> None:
    """Using the path before entering is a sentence, not an AttributeError."""
    with pytest.raises(WorthitError, match="enter it with"):
        _ = Workspace().path


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_room_for_a_workspace_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A temporary folder that cannot be written is named."""
    tmp_path.chmod(0o500)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    with pytest.raises(WorthitError, match="A temporary folder could not be made"):
        Workspace().open()


LEFT_BEHIND = "trap '' INT; sleep 600 & echo ready"
"""A script that ends and leaves a process in its session; as shells do, deaf to Ctrl-C."""

HEARS = """
import pathlib, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
here = pathlib.Path(sys.argv[1])
try:
    (here / "ready").touch()
    time.sleep(600)
except KeyboardInterrupt:
    (here / "told").touch()
"""
LEADS = """
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", sys.argv[2], sys.argv[1]])
time.sleep(600)
"""
"""A leader that passes nothing on, as a shell that waits does not."""


async def test_what_a_child_left_behind_ends_with_it() -> None:
    """A leader that ended first has left others in its session: a stop sweeps them too."""
    async with Workspace() as workspace:
        process = await workspace.start("child", ["sh", "-c", LEFT_BEHIND])
        assert await process.wait(PATIENCE_SECONDS)
        left = process.session()

        await process.stop()

        assert [member.name() for member in left if member.is_running()] == []
        assert len(left) == 1
        assert process.returncode == 0


async def test_a_number_that_was_given_back_is_nobodys() -> None:
    """Once its leader is reaped a session is not looked for: it might be a stranger's by then."""
    async with Workspace() as workspace:
        process = await workspace.start("child", ["sleep", "600"])
        assert len(process.session()) == 1

        await process.stop()

        assert process.session() == []


async def test_a_commands_whole_session_hears_the_stop(tmp_path: Path) -> None:
    """As by a terminal's Ctrl-C: the child of a leader that passes nothing on ends its own way."""
    async with Workspace() as workspace:
        process = await workspace.start(
            "command",
            [sys.executable, "-c", LEADS, str(tmp_path), HEARS],
            attached=True,
            stop_signal=signal.SIGINT,
        )
        wait_for((tmp_path / "ready").exists)
        child = process.tree()[1]

        await process.stop()

        assert (tmp_path / "told").exists()
        assert not child.is_running()
        assert process.returncode == -signal.SIGTERM  # it ignored SIGINT, and was told otherwise
