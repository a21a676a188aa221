"""CPU that PostgreSQL spent for each database: its backends are processes, and each has one.

``pg_stat_activity`` says which process serves which database, the process table how long it
computed. A backend that has ended keeps what it was last seen with, so that the sum per database
only grows. What no database owns (checkpointer, WAL writer, autovacuum's launcher) is in the
server's own total, which the machine's ``cpu_seconds`` of the part ``postgres`` holds.

Two arms that share one server have a database each, so each one's CPU is known without a second
server, whose caches and background work would differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

BACKENDS: Final = """
SELECT pid, datname FROM pg_stat_activity WHERE datname IS NOT NULL AND pid <> pg_backend_pid()
"""
"""Also parallel workers and autovacuum's, which work for one database at a time."""


@dataclass(slots=True)
class BackendMeter:
    """Adds up the CPU seconds of the backends by database."""

    _seen: dict[tuple[int, float], tuple[str, float]] = field(default_factory=dict)
    """(pid, start of the process): a pid comes again. Database and CPU seconds when last seen."""

    def read(self, backends: Iterable[tuple[int, str]]) -> dict[str, float]:
        """Give CPU seconds by database since the first look, those of ended backends included.

        A server on another machine, or in a container of its own, has processes that are not
        ours to see: its pids are nobody's here, or another program's, and nothing is given.
        """
        for pid, database in backends:
            try:
                process = psutil.Process(pid)
                with process.oneshot():
                    if not process.name().startswith("postgres"):
                        continue
                    key = (pid, process.create_time())
                    seconds = _on_cpu(process)
            except (psutil.Error, OSError, ValueError):
                continue
            self._seen[key] = (database, seconds)
        totals: dict[str, float] = {}
        for database, seconds in self._seen.values():
            totals[database] = totals.get(database, 0.0) + seconds
        return totals


def _on_cpu(process: psutil.Process) -> float:
    """CPU seconds of a process with one thread, as a backend is.

    Linux' schedstat counts nanoseconds, the process table ticks of 10 ms: a query takes less.
    """
    precise = Path(f"/proc/{process.pid}/schedstat")
    if precise.exists():
        return int(precise.read_text(encoding="ascii").split()[0]) / 1e9
    times = process.cpu_times()
    return float(times.user + times.system)
