"""Which code burns the service's CPU? py-spy samples its stacks, a file for each measured block.

A file is per block, because a block is of one arm, and the blocks' spread gives an interval.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from worthit.contract.plan import Block
from worthit.contract.profiles import SAMPLES_PER_S, profile_name
from worthit.errors import PartError, UsageError
from worthit.experiments.plan import Plan
from worthit.process.supervision import Process
from worthit.process.workspace import Workspace

_YAMA: Final = Path("/proc/sys/kernel/yama/ptrace_scope")
"""Above 0 the kernel lets nobody but root look into a process that is not its child."""

_WRITING_S: Final = 10.0
"""How long py-spy may take to write a block's stacks."""


def sampler() -> str:
    """Where py-spy is.

    Raises
    ------
    UsageError
        It is not installed, or may not look into other processes here.
    """
    found = shutil.which("py-spy", path=sysconfig.get_path("scripts")) or shutil.which("py-spy")
    if found is None:
        raise UsageError(
            "A CPU profile needs py-spy, which was not found; pip install 'worthit[profile]'."
        )
    if _YAMA.exists() and _YAMA.read_text(encoding="ascii").strip() != "0" and os.geteuid() != 0:
        raise UsageError(
            "A CPU profile needs to look into the service's process, which this kernel allows"
            " nobody but root (kernel.yama.ptrace_scope is not 0); allow it by"
            " sudo sysctl kernel.yama.ptrace_scope=0, or run without a profile."
        )
    return found


def command(pid: int, file: Path) -> list[str]:
    """Sample a process until SIGINT, then write its collapsed stacks."""
    # Paused at each sample, threads that wait would be seen ready: an idle one in 6 % of samples.
    options = ["--nonblocking", "--format", "raw", "--function", "--output", str(file)]
    return [sampler(), "record", "--pid", str(pid), "--rate", str(SAMPLES_PER_S), *options]


class Profiler:
    """Samples an arm's service in each of its measured blocks, where the plan asks for that."""

    def __init__(
        self,
        plan: Plan,
        workspace: Workspace,
        pids: Mapping[str, Callable[[], Sequence[int]]],
        folder: Path,
    ) -> None:
        """`pids` gives each arm's processes; `folder` is where the stacks go."""
        profiled = plan.blocks if plan.experiment.cpu_profile else ()
        self._blocks = [block for block in profiled if not block.warmup]
        self._workspace = workspace
        self._pids = pids
        self._folder = folder
        self._tasks: list[asyncio.Task[None]] = []
        self._running: list[Process] = []

    def follow(self, t0_ns: int) -> None:
        """From now on, sample each block of the schedule that began at `t0_ns`."""
        if self._blocks:
            self._folder.mkdir()
        self._tasks = [asyncio.create_task(self._sample(t0_ns, block)) for block in self._blocks]

    def check(self) -> None:
        """Raise what sampling failed with, if it has."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def _sample(self, t0_ns: int, block: Block) -> None:
        await _until(t0_ns, block.start_s)
        own = [
            await self._start(pid, self._folder / profile_name(block.block, number))
            for number, pid in enumerate(self._pids[block.arm]())
        ]
        self._running += own
        await _until(t0_ns, block.end_s)
        for process in own:
            self._running.remove(process)
            if not process.alive:
                raise PartError(
                    f"py-spy ended during block {block.block} ({process.ending()});"
                    f" {process.last_output()} Run it without a profile."
                )
        await asyncio.gather(*(process.stop(_WRITING_S) for process in own))

    async def _start(self, pid: int, file: Path) -> Process:
        return await self._workspace.start("py-spy", command(pid, file), stop_signal=signal.SIGINT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Cut the block under way: what was sampled of it is written."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(process.stop(_WRITING_S) for process in self._running))


async def _until(t0_ns: int, seconds: float) -> None:
    await asyncio.sleep(max(0.0, seconds - (time.time_ns() - t0_ns) / 1e9))
