"""The services of all arms: a batch up together, the next batch's started in the pause."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Self

from worthit.environment.run_environment import RunEnvironment
from worthit.experiments.plan import SETTLE_S, Plan
from worthit.process.supervision import Process

HEAD_START_S = 0.5
"""After the last arrival of a batch, before the next batch's services load the machine."""


class ArmServices:
    """Starts and stops services as the plan's batches come; ``async with ArmServices(...)``."""

    def __init__(self, environment: RunEnvironment, plan: Plan) -> None:
        self._plan = plan
        self._services = {arm.name: environment.service(arm) for arm in plan.arms}
        self._up: list[str] = []
        self._follower: asyncio.Task[None] | None = None

    @property
    def hosts(self) -> dict[str, str]:
        """The address of each arm's service, whether it is up already or not."""
        return {arm: service.url for arm, service in self._services.items()}

    def pids(self) -> dict[str, Callable[[], Sequence[int]]]:
        """For each arm, a function that gives the processes of its service."""
        return {arm: service.pids for arm, service in self._services.items()}

    def processes(self) -> dict[str, Process]:
        """Give every instance that is meant to be up."""
        return {
            f"service {arm}": process
            for arm in self._up
            for process in self._services[arm].processes
        }

    def follow(self, t0_ns: int) -> None:
        """From now on, change the batch when the schedule that began at `t0_ns` says so."""
        self._follower = asyncio.create_task(self._follow(t0_ns))

    def check(self) -> None:
        """Raise what a change of batch failed with, if one has."""
        if self._follower is not None and self._follower.done():
            self._follower.result()

    async def _follow(self, t0_ns: int) -> None:
        for number, batch in enumerate(self._plan.batches[1:], start=1):
            start_s = self._start_of(number)
            await _until(t0_ns, start_s - SETTLE_S + HEAD_START_S)
            await self._start([arm for arm in batch if arm not in self._up])
            await _until(t0_ns, start_s)
            await self._stop([arm for arm in self._up if arm not in batch])

    def _start_of(self, number: int) -> float:
        pairs = zip(self._plan.blocks, self._plan.batch_of_block, strict=True)
        return min(block.start_s for block, batch in pairs if batch == number)

    async def _start(self, arms: Sequence[str]) -> None:
        await asyncio.gather(*(self._services[arm].start() for arm in arms))
        self._up += arms

    async def _stop(self, arms: Sequence[str]) -> None:
        for arm in arms:
            self._up.remove(arm)
        await asyncio.gather(*(self._services[arm].stop() for arm in arms))

    async def __aenter__(self) -> Self:
        await self._start(self._plan.batches[0])
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)
        await self._stop(list(self._up))


async def _until(t0_ns: int, seconds: float) -> None:
    await asyncio.sleep(max(0.0, seconds - (time.time_ns() - t0_ns) / 1e9))
