"""How much memory did all processes of the run hold together at most?"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Final, Self

import psutil

from worthit.contract.manifest import Memory
from worthit.process.supervision import Process

INTERVAL_S: Final = 2.0
"""Reading every process's maps takes about 20 ms of CPU: 1 % of one core at this interval."""


class MemoryMeter:
    """Adds up the memory of worthit and of all its children, again and again."""

    def __init__(self, processes: Callable[[], Sequence[Process]]) -> None:
        self._processes = processes
        self.peak_bytes = 0
        self._task: asyncio.Task[None] | None = None

    def peak(self) -> Memory:
        """Give the manifest's ``memory``."""
        return Memory(
            peak_bytes=self.peak_bytes,
            what="all processes together, shared pages counted once (PSS)",
            interval_s=INTERVAL_S,
        )

    def look(self) -> None:
        """Take one reading."""
        alive = [psutil.Process(os.getpid())]
        for process in self._processes():
            alive += process.tree()
        self.peak_bytes = max(self.peak_bytes, sum(map(_held, alive)))

    async def _run(self) -> None:
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(INTERVAL_S)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def _held(process: psutil.Process) -> int:
    """Give a process's proportional set; its resident set where that cannot be read."""
    try:
        return int(process.memory_full_info().pss)
    except (psutil.AccessDenied, AttributeError):
        pass  # another user's process, or a system without PSS
    except psutil.Error:
        return 0
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
