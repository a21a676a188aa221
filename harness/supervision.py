"""Child processes that cannot outlive the harness: started, awaited, paused, stopped.

Every child leads its own session, so that a Ctrl-C in the terminal reaches the harness alone and
the harness decides in what order things end. Two nets catch what the harness itself cannot: the
kernel's parent-death signal on each child, and the guard process (`harness.guard`).
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

from harness.errors import PartError

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
    """The user a child runs as, when that is not the harness's own."""

    uid: int
    gid: int


def _die_with_parent(signum: int) -> Callable[[], None] | None:
    """What a child does before exec: ask for a signal when the harness dies (Linux only)."""
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
    ) -> None:
        """Start it.

        `abandon_signal` is what it gets when the harness dies without stopping it. An `attached`
        one keeps the harness's own input and output; its log stays empty.
        """
        self.name = name
        self.log = log
        self._stop_signal = stop_signal
        self._abandon_signal = abandon_signal
        self._started = time.monotonic()
        with log.open("ab") as out:
            try:
                self._popen = subprocess.Popen(
                    list(argv),
                    stdin=_stdin(stdin, attached=attached),
                    stdout=None if attached else out,
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
        if stdin is not None and self._popen.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._popen.stdin.write(stdin)
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
        return self._popen.poll() is None

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._popen.poll()

    def tree(self) -> list[psutil.Process]:
        """The child and all its descendants, parents first; empty when it has ended."""
        if not self.alive:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            child = psutil.Process(self.pid)
            return [child, *child.children(recursive=True)]
        return []

    def pause(self) -> None:
        """SIGSTOP the child and all below it, the parent first, so that it starts no more."""
        if self.alive:
            os.kill(self.pid, signal.SIGSTOP)
        _signal(self.tree(), signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT them, the children first."""
        _signal(self.tree()[::-1], signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL the child and all below it, and wait until they are gone."""
        tree = self.tree()
        _signal(tree, signal.SIGKILL)
        self._popen.wait()
        psutil.wait_procs(tree[1:], timeout=KILL_SECONDS)

    def abandon(self) -> None:
        """Send it what it gets when the harness dies, frozen or not, and do not wait."""
        tree = self.tree()
        signum = self._abandon_signal
        _signal(tree if signum == signal.SIGKILL else tree[:1], signum)
        _signal(tree[::-1], signal.SIGCONT)

    async def stop(self, grace_seconds: float = 10.0) -> None:
        """Ask it to end; kill it and all below it when it has not after the grace."""
        below = self._ask_to_end()
        await self.wait(grace_seconds)
        self._sweep(below)

    async def wait(self, timeout_seconds: float = math.inf) -> bool:
        """Wait until it has ended; False when it has not after the timeout."""
        deadline = time.monotonic() + timeout_seconds
        while self.alive and time.monotonic() < deadline:  # noqa: ASYNC110 - no event tells of a child
            await asyncio.sleep(POLL_SECONDS)
        return not self.alive

    def stop_now(self, grace_seconds: float = 10.0) -> None:
        """As `stop`, for places without an event loop."""
        below = self._ask_to_end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(grace_seconds)
        self._sweep(below)

    def _ask_to_end(self) -> list[psutil.Process]:
        """Send the stop signal (to paused ones too) and return who lives below."""
        tree = self.tree()
        _signal(tree[:1], self._stop_signal)
        _signal(tree[::-1], signal.SIGCONT)
        return tree[1:]

    def _sweep(self, below: Sequence[psutil.Process]) -> None:
        """Kill what the grace has not ended; at once, so blocking for it is no matter."""
        if self.alive:
            self.kill()
        _signal(below, signal.SIGKILL)
        psutil.wait_procs(below, timeout=KILL_SECONDS)

    async def until_ready(self, ready: Ready, timeout_seconds: float) -> None:
        """Wait until `ready` says so; a child that ends or takes too long is a PartError."""
        deadline = time.monotonic() + timeout_seconds
        while self.alive:
            if await self._says(ready):
                return
            if time.monotonic() > deadline:
                raise PartError(
                    f"{self.name} was started but not ready within {timeout_seconds:g} s; "
                    f"{self.last_words()}"
                )
            await asyncio.sleep(POLL_SECONDS)
        raise PartError(
            f"{self.name} ended at its start with {self.ending()}; {self.last_words()}"
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

    def last_words(self, lines: int = 3) -> str:
        """The last lines it printed, or that it printed none."""
        text = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = " | ".join(line.strip() for line in text[-lines:])
        words = f"its last words: {said.rstrip('.')}." if said else "it printed nothing."
        if shutil.disk_usage(self.log.parent).free < FULL_DISK_BYTES:
            folder = self.log.parent.parent.parent
            return f"the disk of {folder} is full, free some or name another in TMPDIR; {words}"
        return words


def _stdin(given: bytes | None, *, attached: bool) -> int | None:
    """What the child reads from: what it is given, what the harness reads from, or nothing."""
    if given is not None:
        return subprocess.PIPE
    return None if attached else subprocess.DEVNULL


def _signal(processes: Sequence[psutil.Process], signum: signal.Signals) -> None:
    """Send to each that still exists; psutil never hits an id that another has taken over."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signum)
