"""CPU of a service that somebody else runs: a process with all below it, or its container.

Linux counts a process' own CPU, and adds that of a child once the child was waited for. The sum of
both over a process and its living descendants is therefore all that the service has used, however
many workers come and go.

A container has a control group (cgroup v2) that counts in microseconds and loses no process. It is
read in the tree's place where nothing but the named process and what is below it belongs to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from worthit.counters.sample import Sample, sample
from worthit.errors import UsageError

CGROUPS: Final = Path("/sys/fs/cgroup")
"""Where Linux mounts the unified hierarchy."""

WATCH_SECONDS: Final = 0.1
"""Between two looks. Where two arms share a process, what grew between two looks at a block's edge
is taken for a straight line: with a second in blocks of two, a sixth of a difference is lost."""

REFRESH_SECONDS: Final = 1.0
"""How long a new child may go unseen. Its CPU up to then is not lost, only late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pid:
    """A process to watch, as ``--pid`` names it."""

    pid: int
    arm: str | None
    """Whose own it is; None where the arms share it."""

    @classmethod
    def spelt(cls, text: str) -> Pid:
        """Read ``PID`` or ``ARM=PID``.

        Raises
        ------
        UsageError
            It is neither.
        """
        arm, _, number = text.rpartition("=")
        if not number.isdecimal() or int(number) == 0:
            raise UsageError(f"--pid {text} names no process; write --pid 4711 or --pid off=4711.")
        return cls(pid=int(number), arm=arm or None)


@dataclass(slots=True, kw_only=True)
class Watched:
    """One process with all below it."""

    root: psutil.Process
    arm: str | None = None
    cgroup: Path | None = None
    """Folder of the control group that holds this tree and nothing else."""
    clock: Callable[[], float] = time.monotonic
    _tree: list[psutil.Process] = field(default_factory=list)
    _refreshed: float = float("-inf")

    @property
    def name(self) -> str:
        """Such as ``python 4711``."""
        return f"{self.root.name()} {self.root.pid}"

    def read(self, t_ns: int) -> list[Sample]:
        """`cpu_seconds` and `rss_bytes` of all together; nothing once the process has ended."""
        if self.clock() - self._refreshed >= REFRESH_SECONDS:
            self._refresh()
        seconds = memory = 0.0
        alive = False
        for process in self._tree:
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    memory += process.memory_info().rss
            except psutil.Error:
                continue
            alive = True
            seconds += times.user + times.system + times.children_user + times.children_system
        if self.cgroup is not None:
            try:
                seconds = cpu_seconds(self.cgroup)
            except OSError:
                return []
        if not alive:
            return []
        labels = {"pid": self.root.pid} | ({"arm": self.arm} if self.arm else {})
        return [
            sample(t_ns, "service", "cpu_seconds", seconds, **labels),
            sample(t_ns, "service", "rss_bytes", memory, **labels),
        ]

    def _refresh(self) -> None:
        self._refreshed = self.clock()
        try:
            self._tree = [self.root, *self.root.children(recursive=True)]
        except psutil.Error:
            self._tree = []


def watch(named: Pid, *, cgroups: Path = CGROUPS) -> Watched:
    """Find the process.

    Raises
    ------
    UsageError
        There is none of that number, or it may not be looked at.
    """
    try:
        root = psutil.Process(named.pid)
        root.cpu_times()
        tree = {root.pid, *(child.pid for child in root.children(recursive=True))}
    except psutil.Error as error:
        raise UsageError(
            f"--pid {named.pid}: there is no such process, or none that may be looked at; start"
            " the service first and name its process."
        ) from error
    return Watched(root=root, arm=named.arm, cgroup=own_cgroup(named.pid, tree, cgroups=cgroups))


def own_cgroup(
    pid: int, tree: set[int], *, cgroups: Path = CGROUPS, proc: Path = Path("/proc")
) -> Path | None:
    """Give the process' control group if only processes of ``tree`` belong to it and below it."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text(encoding="utf-8").splitlines()
        inside = next(line.removeprefix("0::") for line in lines if line.startswith("0::"))
        folder = cgroups / inside.lstrip("/")
        members = {
            int(number)
            for listed in folder.rglob("cgroup.procs")
            for number in listed.read_text(encoding="ascii").split()
        }
        cpu_seconds(folder)
    except (OSError, StopIteration, ValueError):
        return None
    return folder if pid in members and members <= tree else None


def cpu_seconds(cgroup: Path) -> float:
    """`usage_usec` of a group's ``cpu.stat`` (kernel: admin-guide/cgroup-v2), in seconds.

    Raises
    ------
    OSError
        The group is gone, or counts no CPU.
    """
    for line in (cgroup / "cpu.stat").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(" ")
        if name == "usage_usec":
            return int(value) / 1e6
    raise OSError(f"{cgroup} counts no CPU")
