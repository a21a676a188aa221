"""Faults that an experiment asks for: an arm's Redis hangs or is gone once its warm-up is over.

The fault lasts until the load has ended; then it ends, so that the server can be asked for
its own counts. Begin and end are events of the run: in between, the verdict does not count
failed requests against it, and the experiment's claims say what should have happened.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Self

from worthit.environment.redis import ExternalRedis, Redis
from worthit.errors import UsageError
from worthit.experiments.plan import Plan


class Faults:
    """Starts a plan's faults when their time comes; `async with Faults(...) as faults`."""

    def __init__(
        self,
        plan: Plan,
        caches: Mapping[str, Redis | ExternalRedis],
        add_event: Callable[..., None],
    ) -> None:
        """`caches` are the arms' own; `add_event` takes an event's kind and details.

        Raises
        ------
        UsageError
            A Redis that is to fail is the user's own.
        """
        self._add_event = add_event
        self._active: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None
        self._due: list[tuple[float, str, str, Redis]] = []
        for arm in plan.arms:
            if arm.fault is None:
                continue
            cache = caches[arm.name]
            if isinstance(cache, ExternalRedis):
                raise UsageError(
                    f"The arm {arm.name} wants its Redis to fail, and REDIS_URL names one of your "
                    "own, which is never stopped; unset REDIS_URL to use an embedded one."
                )
            starts = [b.start_s for b in plan.blocks if b.arm == arm.name and not b.warmup]
            self._due.append((min(starts), arm.name, arm.fault, cache))
        self._due.sort(key=lambda due: due[0])

    def follow(self, t0_ns: int) -> None:
        """From now on, start each at its time in the schedule that began at `t0_ns`."""
        self._task = asyncio.create_task(self._follow(t0_ns))

    def check(self) -> None:
        """Raise what starting a fault failed with, if it has."""
        if self._task is not None and self._task.done():
            self._task.result()

    async def _follow(self, t0_ns: int) -> None:
        for start_s, arm, kind, cache in self._due:
            await asyncio.sleep(max(0.0, start_s - (time.time_ns() - t0_ns) / 1e9))
            self._add_event("fault_start", fault=kind, arm=arm)
            self._active[arm] = kind
            if kind == "redis-hangs":
                cache.pause()
            else:
                cache.kill()

    async def end(self) -> None:
        """End every fault: thaw what is frozen, start what was killed again, empty."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for _, arm, kind, cache in self._due:
            if self._active.pop(arm, None) is None:
                continue
            if kind == "redis-hangs":
                cache.resume()
            else:
                await cache.start()
            self._add_event("fault_end", fault=kind, arm=arm)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.end()
