"""Run one experiment: start the parts, drive the load, collect, judge; then the run appears."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from worthit.contract.manifest import PassedOn, Verdict
from worthit.contract.profiles import PROFILES
from worthit.counters.postgres_counters import first_postgres_counters, last_postgres_counters
from worthit.counters.profiling import Profiler
from worthit.counters.sample import Sample
from worthit.counters.sampling import Sampler, recorder_counters, redis_counters
from worthit.environment.arm_services import ArmServices
from worthit.environment.faults import Faults
from worthit.environment.run_environment import RunEnvironment
from worthit.errors import PartError
from worthit.experiments.plan import CLOCK_TICK_S, SET_UP_S, Plan
from worthit.process.interruption import in_thread, stop_on_signal
from worthit.process.memory import MemoryMeter
from worthit.process.workspace import Workspace
from worthit.run.artifacts import (
    Events,
    RunArtifacts,
    copy_logs,
    judge,
    manifest,
    write_tables,
)
from worthit.run.load_process import (
    LoadResult,
    await_end,
    await_zero,
    begun_until_s,
    load_plan,
    start_load,
)
from worthit.run.resume import Unfinished, merge_manifest, merge_tables
from worthit.run.run_directory import RunDirectory, check_space

VITAL_PARTS: Final = ("postgres", "recorder", "service")
"""Without one of these a run goes nowhere; a service may survive a dead cache or LLM."""

IDLE_S: Final = 4.0
"""For how long the parts are sampled after the last reply: what they cost without requests."""

WRITING_S: Final = 8.0
"""Writing the tables, of the planned seconds after the load: for the progress alone."""

Say = Callable[[float, str], None]
"""Told how many of the estimated seconds are over, and what is being done now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended."""

    path: Path | None
    """The run directory; None when nothing was kept."""
    interrupted: bool
    blocks_done: int
    blocks_planned: int
    verdict: Verdict | None
    passed_on: PassedOn | None = None


@dataclass(slots=True, kw_only=True)
class RunSession:
    """One run under way."""

    plan: Plan
    directory: RunDirectory
    workspace: Workspace
    say: Say
    environ: Mapping[str, str]
    stop: asyncio.Event
    events: Events = field(default_factory=lambda: Events(time.time_ns))
    t0_ns: int | None = None
    """When the load began."""
    _dead: set[str] = field(default_factory=set)

    async def run(self) -> RunArtifacts:
        """Start the parts, drive the load, take the last samples; then all parts are down."""
        started_ns = time.time_ns()
        self.events.add("run_start", started_ns)
        self.say(0.0, "starting PostgreSQL, Redis, the LLM and the recorder")
        async with (
            MemoryMeter(lambda: self.workspace.processes) as memory,
            RunEnvironment(
                plan=self.plan,
                workspace=self.workspace,
                environ=self.environ,
                run_id=self.directory.run_id,
                traces=self.directory.raw / "traces.otlp",
            ) as environment,
        ):
            self.say(0.2 * SET_UP_S, "filling the databases")
            await environment.fill()
            return await self._measure(environment, memory, started_ns)

    async def _measure(
        self, environment: RunEnvironment, memory: MemoryMeter, started_ns: int
    ) -> RunArtifacts:
        """Take the servers' own counts before and after the load."""
        address = environment.postgres.url()
        databases = list(environment.databases.values())
        sampler = Sampler(
            postgres=address,
            databases=databases,
            redis={arm: cache.url for arm, cache in environment.caches.items()},
            parts={name: process.pids for name, process in environment.processes().items()},
        )
        sampler.rows += await first_postgres_counters(address, databases)
        sampler.rows += await _redis_counts(environment)
        self.say(0.6 * SET_UP_S, "starting the services")
        load = await self._drive(environment, sampler)
        self.say(SET_UP_S + self.plan.load_s, "taking the last counts")
        sampler.rows += await last_postgres_counters(address, databases)
        sampler.rows += await _redis_counts(environment)
        counts = await environment.recorder.stats()
        sampler.rows += recorder_counters(counts, time.time_ns())
        self.events.add("run_end")
        caches = list(environment.caches.values())
        return RunArtifacts(
            plan=self.plan,
            load=load,
            events=self.events,
            counters=sampler.rows,
            started_ns=started_ns,
            ended_ns=time.time_ns(),
            recorder=counts,
            parts=environment.parts(),
            passed_on=await environment.recorder.passed_on(),
            databases=environment.databases,
            memory=memory.peak(),
            postgres_version=environment.postgres.version,
            redis_version=caches[0].version if caches else "",
        )

    async def _drive(self, environment: RunEnvironment, sampler: Sampler) -> LoadResult:
        """Start the services, then the load; stop the services when it has ended."""
        faults = Faults(self.plan, environment.caches, self.events.add)
        async with ArmServices(environment, self.plan) as services:
            sampler.services = services.pids()
            profiler = Profiler(self.plan, self.workspace, services.pids(), self.profiles)
            async with sampler, faults, profiler:
                return await self._load(environment, sampler, services, faults, profiler)

    async def _load(
        self,
        environment: RunEnvironment,
        sampler: Sampler,
        services: ArmServices,
        faults: Faults,
        profiler: Profiler,
    ) -> LoadResult:
        folder = self.directory.raw / "load"
        self.say(0.9 * SET_UP_S, "starting Locust")
        load = load_plan(self.plan, self.directory.run_id, services.hosts)
        locust = await start_load(self.workspace, load, folder)
        t0_ns = self.t0_ns = await await_zero(locust, folder)
        sampler.parts = {**sampler.parts, "locust": locust.pids}
        services.follow(t0_ns)
        faults.follow(t0_ns)
        profiler.follow(t0_ns)
        stopped = await await_end(
            locust,
            load_s=self.plan.load_s,
            elapsed=lambda: (time.time_ns() - t0_ns) / 1e9,
            on_tick=self._tell,
            stop=self.stop,
            check=lambda: self._check(environment, services, faults, profiler),
        )
        if not stopped:
            self.say(SET_UP_S + self.plan.load_s, "watching the idle parts")
            await asyncio.sleep(IDLE_S)
        until_s = begun_until_s(folder) if stopped else self.plan.load_s
        self.events.add_schedule(self.plan, t0_ns, t0_ns + round(until_s * 1e9))
        return LoadResult(
            t0_ns=t0_ns,
            folder=folder,
            # one that was stopped when all had been sent lacks nothing
            stopped_early=until_s < self.plan.load_s - CLOCK_TICK_S,
            begun_until_s=until_s,
        )

    @property
    def profiles(self) -> Path:
        """Where the stacks of the profiled blocks go."""
        return self.directory.path / PROFILES

    def blocks_done(self) -> int:
        """Count the blocks that have run to their end by now."""
        if self.t0_ns is None:
            return 0
        return self.plan.blocks_ended_by((time.time_ns() - self.t0_ns) / 1e9)

    def _check(
        self,
        environment: RunEnvironment,
        services: ArmServices,
        faults: Faults,
        profiler: Profiler,
    ) -> None:
        """Note a part that died; stop with a sentence when nothing can be measured without it."""
        services.check()
        faults.check()
        profiler.check()
        for name, process in {**environment.processes(), **services.processes()}.items():
            if process.alive or name in self._dead:
                continue
            self._dead.add(name)
            self.events.add("part_died", part=name, ending=process.ending())
            if name.partition(" ")[0] in VITAL_PARTS:
                raise PartError(
                    f"{name} died during the run ({process.ending()}); {process.last_output()} "
                    "Nothing was kept."
                )

    def _tell(self, elapsed_s: float) -> None:
        """Say where the load stands, or that it was told to stop."""
        doing = spell_position(self.plan, elapsed_s)
        if self.stop.is_set():
            doing = "stopping: waiting for the last replies (Ctrl-C again keeps nothing)"
        self.say(SET_UP_S + min(elapsed_s, self.plan.load_s), doing)


async def run_plan(
    plan: Plan,
    *,
    out: Path,
    say: Say,
    environ: Mapping[str, str],
    keep_interrupted: bool,
    earlier: Unfinished | None = None,
) -> Outcome:
    """Run `plan` and leave a whole run directory in `out`, or nothing.

    Ctrl-C (or a SIGTERM, or a closed terminal) ends the load; what was measured is kept if
    `keep_interrupted`, with ``complete: false`` in its manifest. A second one, one before the
    load's begin, or any without `keep_interrupted`, ends everything at once and keeps nothing.
    With `earlier`, `plan` is what that run has left to do, and the two become one run.
    """
    check_space(out, sum(plan.arrivals(arm.name) for arm in plan.arms))
    session: RunSession | None = None

    def nothing_to_keep() -> bool:
        return not keep_interrupted or session is None or session.t0_ns is None

    try:
        with (
            RunDirectory(out, plan.experiment.name) as directory,
            Workspace() as workspace,
            stop_on_signal(at_once=nothing_to_keep, give_up=workspace.abandon) as stop,
        ):
            workspace.remove_at_end(directory.path)
            session = RunSession(
                plan=plan,
                directory=directory,
                workspace=workspace,
                say=say,
                environ=environ,
                stop=stop,
            )
            artifacts = await session.run()
            say(plan.estimated_s - WRITING_S, "writing the tables")
            copy_logs(directory, workspace.logs)
            verdict = await in_thread(_finish, directory, artifacts, earlier)
            path = directory.finish()
            workspace.spare(directory.path)
            return Outcome(
                path=path,
                interrupted=artifacts.load.stopped_early,
                blocks_done=plan.blocks_ended_by(artifacts.load.begun_until_s),
                blocks_planned=len(plan.blocks),
                verdict=verdict,
                passed_on=artifacts.passed_on,
            )
    except asyncio.CancelledError:
        return Outcome(
            path=None,
            interrupted=True,
            blocks_done=0 if session is None else session.blocks_done(),
            blocks_planned=len(plan.blocks),
            verdict=None,
        )


def _finish(
    directory: RunDirectory, artifacts: RunArtifacts, earlier: Unfinished | None
) -> Verdict:
    recorded = write_tables(
        directory,
        load_folder=artifacts.load.folder,
        counters=artifacts.counters,
        events=artifacts.events,
        recorder=artifacts.recorder,
    )
    written = manifest(directory, artifacts, recorded)
    if earlier is not None:
        merge_tables(earlier, directory.path, written.arms)
        written = merge_manifest(earlier, written)
    return judge(directory, written)


async def _redis_counts(environment: RunEnvironment) -> list[Sample]:
    rows: list[Sample] = []
    for arm, cache in environment.caches.items():
        rows += await redis_counters(cache.url, arm=arm)
    return rows


def spell_position(plan: Plan, elapsed_s: float) -> str:
    """Say where the schedule stands, for the progress."""
    # the place, not the block's number: what is left of an interrupted run keeps its numbers
    running = (
        (place, block)
        for place, block in enumerate(plan.blocks, start=1)
        if block.start_s <= elapsed_s < block.start_s + block.duration_s
    )
    place, block = next(running, (0, None))
    if block is None:
        if elapsed_s < 0:
            return "starting Locust"
        after = elapsed_s >= plan.load_s
        return "waiting for the last replies" if after else "between two steps"
    if block.warmup:
        return f"warming up, arm {block.arm}"
    return f"load {block.rate_per_s:g}/s, arm {block.arm}, block {place} of {len(plan.blocks)}"
