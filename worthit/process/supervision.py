"""Child processes that cannot outlive worthit: started, awaited, paused, stopped.

Every child leads its own session, so that a Ctrl-C in the terminal reaches worthit alone and
worthit decides in what order things end. Two nets catch what worthit itself cannot: the
kernel's parent-death signal on each child, and the guard process (`worthit.process.guard`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from worthit.errors import PartError

Ready = Callable[[], Awaitable[bool]]
"""Asked again and again until it says True; it must neither raise nor block for long."""

POLL_SECONDS = 0.02
"""Between two looks at a child; small against the 0.3 s that the quickest part takes to start."""

KILL_SECONDS = 2.0
"""The kernel ends a killed process in milliseconds; one stuck in the kernel is not waited for."""

FULL_DISK_BYTES = 16 << 20
"""With less room than this, PostgreSQL cannot begin another segment of its log (16 MiB)."""

PR_SET_PDEATHSIG = 1
"""prctl(2): send me this signal when the thread that started me ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The user a child runs as, when that is not worthit's own."""

    uid: int
    gid: int


def _die_with_parent(signum: int) -> Callable[[], None] | None:
    """What a child does before exec: ask for a signal when worthit dies (Linux only)."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signum)
        if os.getppid() != parent:  # it died before we could ask
            os.kill(os.getpid(), signal.SIGKILL)

    return ask


class Process:
    """One child process and everything below it."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str],
        cwd: Path,
        stop_signal: signal.Signals = signal.SIGTERM,
        abandon_signal: signal.Signals = signal.SIGKILL,
        identity: Identity | None = None,
        stdin: bytes | None = None,
        attached: bool = False,
        stdout: int | None = None,
    ) -> None:
        """Start it.

        `abandon_signal` is what it gets when worthit dies without stopping it. An `attached`
        one is a command of the user's own: it keeps worthit's input and output (or writes to
        the descriptor `stdout`), its log stays empty, and its whole session is told to stop, as by
        a terminal's Ctrl-C: the shell that leads a script passes nothing on.
        """
        self.name = name
        self.log = log
        self._attached = attached
        self._stop_signal = stop_signal
        self._abandon_signal = abandon_signal
        self._started = time.monotonic()
        with log.open("ab") as out:
            try:
                self._popen = subprocess.Popen(
                    list(argv),
                    stdin=_stdin(stdin, attached=attached),
                    stdout=stdout if attached else out,
                    stderr=None if attached else subprocess.STDOUT,
                    env=dict(env),
                    cwd=cwd,
                    start_new_session=True,
                    user=identity.uid if identity else None,
                    group=identity.gid if identity else None,
                    extra_groups=[] if identity else None,
                    preexec_fn=_die_with_parent(abandon_signal),  # noqa: PLW1509 - one C call, no lock
                )
            except OSError as error:
                raise PartError(
                    f"{name} could not be started: {argv[0]}: {error.strerror}; "
                    "reinstall the project's dependencies and try again."
                ) from error
        if stdin is not None:
            self._feed(stdin)

    def _feed(self, data: bytes) -> None:
        if self._popen.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._popen.stdin.write(data)
                self._popen.stdin.close()

    @property
    def pid(self) -> int:
        """The child's process id, also its session's."""
        return self._popen.pid

    @property
    def age_seconds(self) -> float:
        """How long ago it was started."""
        return time.monotonic() - self._started

    @property
    def alive(self) -> bool:
        """Whether it runs (a paused one does)."""
        return self.returncode is None

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs.

        Looked at, and not reaped before it is stopped: as long as it is a zombie no other process
        can be given its number, which is its session's too.
        """
        if self._popen.returncode is not None or not hasattr(os, "waitid"):
            return self._popen.poll()
        looking = os.WEXITED | os.WNOHANG | os.WNOWAIT
        ended = os.waitid(os.P_PID, self.pid, looking)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def tree(self) -> list[psutil.Process]:
        """The child and all its descendants, parents first; empty when it has ended."""
        if not self.alive:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            child = psutil.Process(self.pid)
            return [child, *child.children(recursive=True)]
        return []

    def pids(self) -> list[int]:
        """Give the process ids of the child and all its descendants."""
        return [child.pid for child in self.tree()]

    def session(self) -> list[psutil.Process]:
        """What lives in its session, itself included, also when it has ended and left others.

        Empty once it is reaped: from then on another's session may have the number.
        """
        if self._popen.returncode is not None:
            return []
        return [process for pid in psutil.pids() if (process := self._member(pid)) is not None]

    def _member(self, pid: int) -> psutil.Process | None:
        """The process of this number if it lives in this session."""
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(pid) != self.pid:
                return None
            process = psutil.Process(pid)
            # asked again: the number may have gone from one of ours to a stranger in between
            if os.getsid(pid) == self.pid and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def _family(self) -> list[psutil.Process]:
        """Itself, all below it, and what is left of its session with all below that."""
        found = self.tree()
        for member in self.session():
            if member not in found:
                found.append(member)
                with contextlib.suppress(psutil.NoSuchProcess):
                    found += member.children(recursive=True)
        return found

    def pause(self) -> None:
        """SIGSTOP the child and all below it, the parent first, so that it starts no more."""
        if self.alive:
            os.kill(self.pid, signal.SIGSTOP)
        _signal(self.tree(), signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT them, the children first."""
        _signal(self.tree()[::-1], signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL the child, all below it and all that it left, and wait until they are gone."""
        family = self._family()
        _signal(family, signal.SIGKILL)
        self._popen.wait()
        _await_end(family, self.pid)

    def abandon(self) -> None:
        """Send it what it gets when worthit dies, frozen or not, and do not wait."""
        family = self._family()
        signum = self._abandon_signal
        _signal(family if signum == signal.SIGKILL else self.tree()[:1], signum)
        _signal(family[::-1], signal.SIGCONT)

    async def stop(self, grace_seconds: float = 10.0) -> None:
        """Ask it to end; kill what has not after the grace, and then whatever it left."""
        family = self._ask_to_end()
        deadline = time.monotonic() + grace_seconds
        while self._still_ending() and time.monotonic() < deadline:  # noqa: ASYNC110 - as in `wait`
            await asyncio.sleep(POLL_SECONDS)
        self._sweep(family)

    async def wait(self, timeout_seconds: float = math.inf) -> bool:
        """Wait until it has ended; False when it has not after the timeout."""
        deadline = time.monotonic() + timeout_seconds
        while self.alive and time.monotonic() < deadline:  # noqa: ASYNC110 - no event tells of a child
            await asyncio.sleep(POLL_SECONDS)
        return not self.alive

    def stop_now(self, grace_seconds: float = 10.0) -> None:
        """As `stop`, for places without an event loop."""
        family = self._ask_to_end()
        deadline = time.monotonic() + grace_seconds
        while self._still_ending() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        self._sweep(family)

    def _ask_to_end(self) -> list[psutil.Process]:
        """Send the stop signal (to paused ones too) and return who is to be gone in the end.

        A part ends its own children. Whether a command does nobody knows, so its whole session is
        told; who ignores the signal, as a script's background processes do SIGINT, by SIGTERM.
        """
        family = self._family()
        told = self.session() if self._attached else self.tree()[:1]
        for process in told:
            deaf = self._attached and _ignores(process.pid, self._stop_signal)
            _signal([process], signal.SIGTERM if deaf else self._stop_signal)
        _signal(family[::-1], signal.SIGCONT)
        return family

    def _still_ending(self) -> bool:
        """Whether the grace is still needed: by a command's session, of a part by itself alone."""
        return bool(self.session()) if self._attached else self.alive

    def _sweep(self, family: Sequence[psutil.Process]) -> None:
        """Kill what the grace has not ended; at once, so blocking for it is no matter."""
        family = [*family, *(new for new in self._family() if new not in family)]
        _signal(family, signal.SIGKILL)
        self._popen.wait()
        _await_end(family, self.pid)

    async def until_ready(self, ready: Ready, timeout_seconds: float) -> None:
        """Wait until `ready` says so; a child that ends or takes too long is a PartError."""
        deadline = time.monotonic() + timeout_seconds
        while self.alive:
            if await self._says(ready):
                return
            if time.monotonic() > deadline:
                raise PartError(
                    f"{self.name} was started but not ready within {timeout_seconds:g} s; "
                    f"{self.last_output()}"
                )
            await asyncio.sleep(POLL_SECONDS)
        raise PartError(
            f"{self.name} ended at its start with {self.ending()}; {self.last_output()}"
        )

    async def _says(self, ready: Ready) -> bool:
        """Ask once, but not longer than the child lives: another's server may hold the answer."""
        asking = asyncio.ensure_future(ready())
        try:
            while self.alive:
                await asyncio.wait({asking}, timeout=POLL_SECONDS)
                if asking.done():
                    return asking.result()
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        return False

    def ending(self) -> str:
        """How it ended, in words."""
        code = self.returncode
        if code is None:
            return "no end yet"
        return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"

    def last_output(self, lines: int = 3) -> str:
        """The last lines it printed, or that it printed none."""
        text = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = " | ".join(line.strip() for line in text[-lines:])
        words = f"last output: {said.rstrip('.')}." if said else "it printed nothing."
        if shutil.disk_usage(self.log.parent).free < FULL_DISK_BYTES:
            folder = self.log.parent.parent.parent
            return f"the disk of {folder} is full, free some or name another in TMPDIR; {words}"
        return words


def _stdin(given: bytes | None, *, attached: bool) -> int | None:
    """What the child reads from: what it is given, what worthit reads from, or nothing."""
    if given is not None:
        return subprocess.PIPE
    return None if attached else subprocess.DEVNULL


def _ignores(pid: int, signum: signal.Signals) -> bool:
    """Whether a process has set a signal to be ignored; not known without /proc."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
        mask = int(status.partition("SigIgn:")[2].split()[0], 16)
        return bool(mask >> (signum - 1) & 1)
    return False


def _await_end(family: Sequence[psutil.Process], leader: int) -> None:
    """Wait until all are gone but the leader, whose end is its parent's to take note of."""
    psutil.wait_procs([member for member in family if member.pid != leader], timeout=KILL_SECONDS)


def _signal(processes: Sequence[psutil.Process], signum: signal.Signals) -> None:
    """Send to each that still exists; psutil never hits an id that another has taken over."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signum)
