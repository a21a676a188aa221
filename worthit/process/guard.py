"""The guard: ends a dead worthit's processes and removes its files, also after SIGKILL.

Run as a script by `worthit.process.workspace` (``python -I -S guard.py``), standard library only,
so that it is up in a few hundredths of a second and owes nothing to the environment. It holds one
end of a pipe; worthit holds the other. While worthit lives it writes lines:

    folder "PATH"   remove this folder at the end, and end whatever has its working directory in it
    half "PATH"     remove this half-written folder at the end
    spare "PATH"    do not remove that folder any more (a run directory became whole)
    start PID SIG   a child of worthit, leader of its own session, to be ended by signal SIG
    done            worthit has cleaned up by itself: exit, touch nothing

When the pipe ends without `done` worthit is gone, however it went: the guard does its work.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

GRACE_SECONDS = 5.0
"""How long an immediate shutdown of PostgreSQL may take (0.01 s when idle) before SIGKILL."""

IPC_RMID = 0
"""shmctl(2): remove the segment once nobody is attached."""

POLL_SECONDS = 0.02
"""Between two looks at what still lives."""


@dataclass(slots=True)
class Charge:
    """What the guard has been told to look after."""

    folders: set[str] = field(default_factory=set)
    half_written: set[str] = field(default_factory=set)
    children: dict[int, int] = field(default_factory=dict)
    done: bool = False

    def read(self, line: str) -> None:
        """Take one line from worthit; an unfinished one (killed while writing) is ignored."""
        if not line.endswith("\n"):
            return
        word, _, rest = line.rstrip("\n").partition(" ")
        if word == "folder":
            self.folders.add(json.loads(rest))
        elif word == "half":
            self.half_written.add(json.loads(rest))
        elif word == "spare":
            self.half_written.discard(json.loads(rest))
        elif word == "start":
            pid, signum = rest.split()
            self.children[int(pid)] = int(signum)
        elif word == "done":
            self.done = True


@dataclass(frozen=True, slots=True)
class Status:
    """The few facts of /proc/PID that decide whether a process is ours."""

    pid: int
    parent: int
    session: int
    state: str
    cwd: str


def processes() -> list[Status]:
    """Every process of this machine that can be read; empty where there is no /proc."""
    found = []
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):  # noqa: PTH208 - names are wanted, not paths
            if name.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    found.append(_status(int(name)))
    return found


def _status(pid: int) -> Status:
    """Read one process; its name may hold spaces and brackets, so split after the last bracket."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    state, parent, _group, session = text.rpartition(")")[2].split()[:4]
    try:
        cwd = os.readlink(f"/proc/{pid}/cwd")  # noqa: PTH115 - a string is compared below
    except OSError:
        cwd = ""
    return Status(pid, int(parent), int(session), state, cwd)


def ours(charge: Charge, known: list[Status]) -> set[int]:
    """Which living processes descend from worthit.

    By session (children lead their own), by working directory (PostgreSQL's children lead
    sessions too, but stand in the data folder), and by parent, until nothing new is found.
    """
    living = [status for status in known if status.state not in {"Z", "X"}]
    roots = tuple(folder.rstrip("/") + "/" for folder in charge.folders)
    found = {
        status.pid
        for status in living
        if status.session in charge.children
        or status.pid in charge.children
        or (roots and (status.cwd + "/").startswith(roots))
    }
    grown = True
    while grown:
        more = {s.pid for s in living if s.parent in found and s.pid not in found}
        found |= more
        grown = bool(more)
    return found - {os.getpid()}


def _send(pid: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signum)


def end_processes(charge: Charge) -> None:
    """Signal each child its own way (continuing paused ones), then kill whatever is left."""
    for pid in ours(charge, processes()):
        _send(pid, charge.children.get(pid, 0))
        _send(pid, signal.SIGCONT)
    gentle_until = time.monotonic() + GRACE_SECONDS
    stop_at = gentle_until + GRACE_SECONDS
    while (left := ours(charge, processes())) and time.monotonic() < stop_at:
        if time.monotonic() > gentle_until or not left & set(charge.children):
            for pid in left:
                _send(pid, signal.SIGKILL)
        time.sleep(POLL_SECONDS)


def release_shared_memory(data: Path) -> None:
    """Free the 56 bytes of System V memory by which PostgreSQL marks its data folder as in use.

    A postmaster that was killed leaves them behind, and no folder's removal takes them along. The
    segment's id is the second number on the seventh line of postmaster.pid.
    """
    with contextlib.suppress(OSError, IndexError, ValueError):
        line = (data / "postmaster.pid").read_text(encoding="ascii").splitlines()[6]
        ctypes.CDLL(None).shmctl(int(line.split()[1]), IPC_RMID, None)


def remove_folders(charge: Charge) -> None:
    """Remove the folders; tried again for a moment, a dying process may still be writing."""
    for folder in charge.folders:
        release_shared_memory(Path(folder) / "postgres")
    for folder in charge.folders | charge.half_written:
        for _attempt in range(50):
            shutil.rmtree(folder, ignore_errors=True)
            if not os.path.lexists(folder):
                break
            time.sleep(POLL_SECONDS)


def main() -> int:
    """Wait for worthit's end and do what is left to do."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    charge = Charge()
    for line in sys.stdin:
        charge.read(line)
    if not charge.done:
        end_processes(charge)
        remove_folders(charge)
    return 0


if __name__ == "__main__":
    sys.exit(main())
