"""A place for one run's processes, ports, logs and files; all of it gone when the run ends.

Gone after success, failure, Ctrl-C and a SIGKILL of worthit itself: see
`worthit.process.guard`. What a power cut leaves behind is removed by the next workspace, which
finds the folder's lock unheld.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

from worthit.errors import WorthitError
from worthit.process.supervision import Identity, Process, Ready

PREFIX = "worthit-"
"""How every workspace's folder is named in the temporary folder, so that leftovers can be told."""

LOCK_NAME = "worthit.lock"
"""Held while worthit lives; an unheld one marks a folder that nobody looks after."""

STILL_OPENING_SECONDS = 3600.0
"""A workspace opens in milliseconds; one that is older was given up."""

PORTS = range(10_240, 32_768)
"""Below Linux's ephemeral range, so that no outgoing connection can take a port in between."""


class Workspace:
    """A temporary folder and the processes started in it. Use with `with` or `async with`."""

    def __init__(self) -> None:
        self._processes: list[Process] = []
        self._guard: subprocess.Popen[bytes] | None = None
        self._lock: IO[bytes] | None = None
        self._path: Path | None = None
        self._given: set[int] = set()

    @property
    def path(self) -> Path:
        """The folder."""
        if self._path is None:
            raise WorthitError(
                "The workspace is not open; enter it with `with` or `async with` first."
            )
        return self._path

    @property
    def logs(self) -> Path:
        """The folder with what each process printed, one file per process."""
        return self.path / "logs"

    @property
    def processes(self) -> tuple[Process, ...]:
        """Every process started here, in order of their start."""
        return tuple(self._processes)

    def open(self) -> None:
        """Make the folder and start the guard."""
        root = _temporary_root()
        sweep(root)
        try:
            # Named for the sweep only once its lock is held: another's sweep must not take it.
            new = Path(tempfile.mkdtemp(prefix=f"new-{PREFIX}", dir=root))
            self._lock = (new / LOCK_NAME).open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._path = new.rename(root / new.name.removeprefix("new-"))
            # An unprivileged PostgreSQL must be able to walk through, nobody else to look around.
            self._path.chmod(0o711)
            self.logs.mkdir()
        except OSError as error:
            raise WorthitError(
                f"A temporary folder could not be made in {root}: {error.strerror}; "
                "free some space there or name another folder in TMPDIR."
            ) from error
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py"))],
            stdin=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
        )
        self._tell(f"folder {json.dumps(str(self._path))}")

    def close(self) -> None:
        """Stop what still runs, newest first, remove the folder, dismiss the guard."""
        for process in reversed(self._processes):
            process.stop_now()
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()
        if self._guard is not None and self._guard.stdin is not None:
            if self._path is None or not self._path.exists():
                self._tell("done")
            with contextlib.suppress(BrokenPipeError):
                self._guard.stdin.close()
            self._guard.wait()
        self._guard = None

    def abandon(self) -> None:
        """Send every process its fastest end, waiting for none: what they hold is not wanted."""
        for process in reversed(self._processes):
            process.abandon()

    def remove_at_end(self, folder: Path) -> None:
        """Have the guard remove `folder` too if worthit dies: for what is half written."""
        self._tell(f"half {json.dumps(str(folder.resolve()))}")

    def spare(self, folder: Path) -> None:
        """Take back `remove_at_end`: the folder is whole, or was removed or renamed."""
        self._tell(f"spare {json.dumps(str(folder.resolve()))}")

    def free_port(self) -> int:
        """A port of 127.0.0.1 that nobody listens on, never given twice by this workspace."""
        for port in random.SystemRandom().sample(PORTS, 200):
            if port not in self._given and is_free(port):
                self._given.add(port)
                return port
        raise WorthitError(
            f"No free port was found on 127.0.0.1 between {PORTS.start} and {PORTS.stop - 1}; "
            "end some servers and try again."
        )

    async def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        ready: Ready | None = None,
        timeout_seconds: float = 30.0,
        cwd: Path | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        abandon_signal: signal.Signals = signal.SIGKILL,
        identity: Identity | None = None,
        stdin: bytes | None = None,
        attached: bool = False,
        stdout: int | None = None,
    ) -> Process:
        """Start a process and await `ready`; `env` is its whole environment, by default ours."""
        process = Process(
            name,
            argv,
            log=self.logs / f"{name}.log",
            env=os.environ if env is None else env,
            cwd=cwd or self.path,
            stop_signal=stop_signal,
            abandon_signal=abandon_signal,
            identity=identity,
            stdin=stdin,
            attached=attached,
            stdout=stdout,
        )
        self._processes.append(process)
        self._tell(f"start {process.pid} {int(abandon_signal)}")
        if ready is not None:
            try:
                await process.until_ready(ready, timeout_seconds)
            except BaseException:
                process.kill()
                raise
        return process

    def _tell(self, line: str) -> None:
        """One line to the guard; a dead one is no reason to fail, the kernel's net remains."""
        if self._guard is not None and self._guard.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._guard.stdin.write(line.encode() + b"\n")
                self._guard.stdin.flush()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        self.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self.close)


def sweep(root: Path) -> list[Path]:
    """Remove the workspaces in `root` whose worthit process is gone, and say which."""
    folders = (*root.glob(f"{PREFIX}*"), *_never_opened(root))
    return [folder for folder in folders if remove_abandoned(folder, folder / LOCK_NAME)]


def remove_abandoned(folder: Path, lock_file: Path) -> bool:
    """Remove `folder` if nobody holds its lock; a folder without one is not ours to judge."""
    with contextlib.suppress(OSError), lock_file.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
        return True
    return False


def _never_opened(root: Path) -> list[Path]:
    """Folders whose worthit process was killed in the instant between making and naming them."""
    before = time.time() - STILL_OPENING_SECONDS
    found = []
    for folder in root.glob(f"new-{PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_mtime < before:
                found.append(folder)
    return found


def _temporary_root() -> Path:
    """The temporary folder; as root, one that an unprivileged PostgreSQL can reach."""
    _check_named(os.environ.get("TMPDIR"))
    try:
        root = Path(tempfile.gettempdir()).resolve()
    except FileNotFoundError as error:
        raise WorthitError(
            "No temporary folder can be written to: neither /tmp nor /var/tmp; free some space "
            "there, or name another folder in TMPDIR."
        ) from error
    if os.geteuid() != 0 or not root.exists() or _open_to_all(root):
        return root
    return Path("/var/tmp")  # noqa: S108 - mkdtemp makes the folder in it, safely


def _check_named(folder: str | None) -> None:
    """Refuse a TMPDIR that cannot be written; Python would take another folder without a word."""
    if not folder:
        return
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x")
            probe.flush()
    except OSError as error:
        raise WorthitError(
            f"Nothing can be written to the folder that TMPDIR names, {folder}: {error.strerror}; "
            "free some space there, name another, or unset TMPDIR."
        ) from error


def _open_to_all(folder: Path) -> bool:
    """Whether every user may walk through `folder` and what is above it."""
    return all(path.stat().st_mode & 0o001 for path in (folder, *folder.parents))


def is_free(port: int) -> bool:
    """Whether nobody listens on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
