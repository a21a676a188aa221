"""Run one experiment: start the parts, drive the load, collect, judge; then the run appears."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from worthit.cli.terminal.progress import Progress
from worthit.counters.sampling import (
    Sample,
    Sampler,
    first_postgres_counters,
    last_postgres_counters,
    recorder_counters,
)
from worthit.counters.sampling import redis_counters as read_redis
from worthit.environment.arm_services import ArmServices
from worthit.environment.faults import Faults
from worthit.environment.recorder import PassedOn
from worthit.environment.run_environment import RunEnvironment
from worthit.errors import PartError
from worthit.experiments.plan import SET_UP_S, Plan
from worthit.process.interruption import in_thread, stop_on_signal
from worthit.process.memory import MemoryMeter
from worthit.process.workspace import Workspace
from worthit.run import finishing
from worthit.run.load_process import (
    LoadResult,
    await_end,
    await_zero,
    begun_until_s,
    plan_document,
    start_load,
)
from worthit.run.resuming import Unfinished, merge_manifest, merge_tables
from worthit.run.run_directory import RunDirectory, check_space
from worthit.run.timeline import Events, spell_position

VITAL_PARTS: Final = ("postgres", "recorder", "service")
"""Without one of these a run goes nowhere; a service may survive a dead cache or LLM."""

CLOCK_TICK_S: Final = 1e-6
"""The load counts in ns and the plan in seconds: what rounding may make of the same end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended."""

    path: Path | None
    """The run directory; None when nothing was kept."""
    interrupted: bool
    blocks_done: int
    blocks_planned: int
    verdict: finishing.Verdict | None
    passed_on: PassedOn | None = None


@dataclass(slots=True, kw_only=True)
class RunSession:
    """One run under way."""

    plan: Plan
    directory: RunDirectory
    workspace: Workspace
    progress: Progress
    environ: Mapping[str, str]
    stop: asyncio.Event
    events: Events = field(default_factory=lambda: Events(time.time_ns))
    t0_ns: int | None = None
    """When the load began."""
    _dead: set[str] = field(default_factory=set)

    async def run(self) -> tuple[finishing.RunArtifacts, bool]:
        """Start the parts, drive the load, take the last samples; then all parts are down."""
        started_ns = time.time_ns()
        self.events.add("run_start", started_ns)
        self._say(0.0, "starting PostgreSQL, Redis, the LLM and the recorder")
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
            self._say(0.2 * SET_UP_S, "filling the databases")
            await environment.fill()
            artifacts = await self._measure(environment, memory, started_ns)
        return artifacts, artifacts.load.stopped_early

    async def _measure(
        self, environment: RunEnvironment, memory: MemoryMeter, started_ns: int
    ) -> finishing.RunArtifacts:
        """Bracket the load with the servers' own counts."""
        address = environment.postgres.url()
        databases = list(environment.databases.values())
        sampler = Sampler(
            postgres=address,
            databases=databases,
            redis={arm: cache.url for arm, cache in environment.caches.items()},
            parts={name: process.pids for name, process in environment.processes().items()},
        )
        sampler.rows += await first_postgres_counters(address, databases)
        sampler.rows += await _redis_bracket(environment)
        self._say(0.6 * SET_UP_S, "starting the services")
        load = await self._drive(environment, sampler)
        self._say(SET_UP_S + self.plan.load_s, "taking the last counts")
        sampler.rows += await last_postgres_counters(address, databases)
        sampler.rows += await _redis_bracket(environment)
        counts = await environment.recorder.stats()
        sampler.rows += recorder_counters(counts, time.time_ns())
        self.events.add("run_end")
        caches = list(environment.caches.values())
        return finishing.RunArtifacts(
            plan=self.plan,
            load=load,
            events=self.events,
            counters=sampler.rows,
            started_ns=started_ns,
            ended_ns=time.time_ns(),
            recorder=counts,
            parts=environment.facts(),
            passed_on=await environment.recorder.passed_on(),
            databases=environment.databases,
            memory=memory.facts(),
            postgres_version=environment.postgres.version,
            redis_version=caches[0].version if caches else "",
        )

    async def _drive(self, environment: RunEnvironment, sampler: Sampler) -> LoadResult:
        """Start the services, then the load; stop the services when it has ended."""
        faults = Faults(self.plan, environment.caches, self.events.add)
        async with ArmServices(environment, self.plan) as services:
            sampler.services = services.pids()
            async with sampler, faults:
                return await self._load(environment, sampler, services, faults)

    async def _load(
        self, environment: RunEnvironment, sampler: Sampler, services: ArmServices, faults: Faults
    ) -> LoadResult:
        folder = self.directory.raw / "load"
        self._say(0.9 * SET_UP_S, "starting Locust")
        document = plan_document(self.plan, self.directory.run_id, services.hosts)
        locust = await start_load(self.workspace, document, folder)
        t0_ns = self.t0_ns = await await_zero(locust, folder)
        sampler.parts = {**sampler.parts, "locust": locust.pids}
        services.follow(t0_ns)
        faults.follow(t0_ns)

        def elapsed() -> float:
            return (time.time_ns() - t0_ns) / 1e9

        stopped = await await_end(
            locust,
            load_s=self.plan.load_s,
            elapsed=elapsed,
            on_tick=self._tell,
            stop=self.stop,
            check=lambda: self._check(environment, services, faults),
        )
        until_s = begun_until_s(folder) if stopped else self.plan.load_s
        self.events.add_schedule(self.plan, t0_ns, t0_ns + round(until_s * 1e9))
        return LoadResult(
            t0_ns=t0_ns,
            folder=folder,
            # one that was stopped when all had been sent lacks nothing
            stopped_early=until_s < self.plan.load_s - CLOCK_TICK_S,
            begun_until_s=until_s,
        )

    def blocks_done(self) -> int:
        """Count the blocks that have run to their end by now."""
        if self.t0_ns is None:
            return 0
        elapsed_s = (time.time_ns() - self.t0_ns) / 1e9
        return sum(block.start_s + block.duration_s <= elapsed_s for block in self.plan.blocks)

    def _check(self, environment: RunEnvironment, services: ArmServices, faults: Faults) -> None:
        """Note a part that died; stop with a sentence when nothing can be measured without it."""
        services.check()
        faults.check()
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
        self._say(SET_UP_S + min(elapsed_s, self.plan.load_s), doing)

    def _say(self, done_s: float, doing: str) -> None:
        self.progress.at(done_s, doing)


async def run_plan(
    plan: Plan,
    *,
    out: Path,
    progress: Progress,
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
    progress.begin(plan.experiment.name, plan.estimated_s)
    directory: RunDirectory | None = None
    session: RunSession | None = None

    def nothing_to_keep() -> bool:
        return not keep_interrupted or session is None or session.t0_ns is None

    try:
        with (
            Workspace() as workspace,
            stop_on_signal(at_once=nothing_to_keep, give_up=workspace.abandon) as stop,
        ):
            directory = RunDirectory(out, plan.experiment.name, datetime.now(tz=UTC))
            workspace.remove_at_end(directory.path)
            session = RunSession(
                plan=plan,
                directory=directory,
                workspace=workspace,
                progress=progress,
                environ=environ,
                stop=stop,
            )
            return await _run_session(session, earlier)
    except asyncio.CancelledError:
        done = 0 if session is None else session.blocks_done()
        return _outcome(plan, None, done, None, interrupted=True)
    finally:
        progress.end()
        if directory is not None:
            directory.discard()


async def _run_session(session: RunSession, earlier: Unfinished | None) -> Outcome:
    """Run it, and make a whole run directory of what it left."""
    artifacts, interrupted = await session.run()
    plan, directory, workspace = session.plan, session.directory, session.workspace
    session.progress.at(plan.estimated_s - 8, "writing the tables")
    finishing.copy_logs(directory, workspace.logs)
    verdict = await in_thread(_finish, directory, artifacts, earlier)
    path = directory.finish()
    workspace.spare(directory.path)
    outcome = _outcome(plan, path, _blocks_done(artifacts), verdict, interrupted=interrupted)
    return replace(outcome, passed_on=artifacts.passed_on)


def _finish(
    directory: RunDirectory, artifacts: finishing.RunArtifacts, earlier: Unfinished | None
) -> finishing.Verdict:
    recorded = finishing.write_tables(directory, artifacts)
    content = finishing.manifest(directory, artifacts, recorded)
    if earlier is not None:
        merge_tables(earlier, directory.path, content["arms"])
        content = merge_manifest(earlier, content)
    return finishing.judge(directory, content)


def _outcome(
    plan: Plan,
    path: Path | None,
    done: int,
    verdict: finishing.Verdict | None,
    *,
    interrupted: bool,
) -> Outcome:
    return Outcome(
        path=path,
        interrupted=interrupted,
        blocks_done=done,
        blocks_planned=len(plan.blocks),
        verdict=verdict,
    )


def _blocks_done(artifacts: finishing.RunArtifacts) -> int:
    """Count the blocks that ran to their end."""
    if not artifacts.load.stopped_early:
        return len(artifacts.plan.blocks)
    ended = artifacts.load.begun_until_s
    return sum(block.start_s + block.duration_s <= ended for block in artifacts.plan.blocks)


async def _redis_bracket(environment: RunEnvironment) -> list[Sample]:
    rows: list[Sample] = []
    for arm, cache in environment.caches.items():
        rows += await read_redis(cache.url, arm=arm)
    return rows
