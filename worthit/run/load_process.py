"""Drive the load: one Locust child process for the whole run, steered by a plan file."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from worthit.contract.exit_codes import ExitCode
from worthit.contract.limits import workers_wanted
from worthit.contract.plan import Plan
from worthit.contract.scenario_files import scenarios_folder
from worthit.environment.server import child_environment
from worthit.errors import PartError
from worthit.experiments import plan as experiments
from worthit.process.supervision import Process
from worthit.process.workspace import Workspace

START_TIMEOUT_S: Final = 60.0
"""Locust imports in about 2 s; on a busy machine much longer."""

DRAIN_TIMEOUT_S: Final = 90.0
"""After the last arrival, the slowest reply may take this long before the load counts as stuck."""

POLL_S: Final = 0.2
"""Between two looks at how far the load is."""

LAST_REPLIES_S: Final = 20
"""When stopped early: how long the load waits for what is in flight; a chat takes some 5 s."""

GRACE_S: Final = LAST_REPLIES_S + 10.0
"""When stopped early: after this the load is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What the load left behind."""

    t0_ns: int
    """The schedule's zero; a block's planned start counts from here."""
    folder: Path
    stopped_early: bool
    begun_until_s: float
    """Every arrival before this was begun; what was planned after it was not, or not all."""


def load_plan(plan: experiments.Plan, run_id: str, hosts: Mapping[str, str]) -> Plan:
    """Give what Locust is to send: the experiment's blocks, each with its arm's host and knobs."""
    experiment = plan.experiment
    own = {
        arm.name: None if arm.knobs == experiment.load.knobs else dict(arm.knobs)
        for arm in plan.arms
    }
    return Plan(
        run=run_id,
        seed=experiment.seed,
        arrivals=experiment.load.arrivals,
        scenario=experiment.scenario,
        knobs={
            "personalities": plan.personalities,
            "people": experiment.data.users,
            **experiment.load.knobs,
        },
        start_at_ns=None,
        blocks=tuple(
            replace(block, host=hosts[block.arm], knobs=own[block.arm]) for block in plan.blocks
        ),
    )


async def start_load(workspace: Workspace, plan: Plan, folder: Path) -> Process:
    """Start Locust with `plan`; it writes what it sends to `folder`.

    It gets as many processes as the plan's highest rate wants, while there is a core for each.
    """
    plan_file = _write_plan(plan, folder)
    processes = min(workers_wanted(plan.peak_per_s), os.cpu_count() or 1)
    several = ["--processes", str(processes)] if processes > 1 else []
    if several:
        port = str(workspace.free_port())
        several += ["--master-bind-host", "127.0.0.1", "--master-bind-port", port]
        several += ["--master-port", port]
    return await workspace.start(
        "locust",
        [
            *(sys.executable, "-m", "locust", "-f", str(scenarios_folder()), plan.scenario or ""),
            *(
                "--headless",
                "--exit-code-on-error",
                "0",  # of a run failed requests are data, and its verdict speaks of them
                "--stop-timeout",
                str(LAST_REPLIES_S),
                "--worthit-plan",
                str(plan_file),
                "--worthit-out",
                str(folder),
            ),
            *several,
        ],
        env=child_environment(),
    )


async def await_zero(process: Process, folder: Path) -> int:
    """Wait until the load has begun, and give its schedule's zero in ns."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_TIMEOUT_S
    while loop.time() < deadline:
        zero = _zero(folder / "started.json")
        if zero is not None:
            return zero
        if not process.alive:
            raise PartError(
                f"Locust ended at its start with {process.ending()}; {_reason(process)}"
            )
        await asyncio.sleep(POLL_S)
    raise PartError(f"Locust did not begin within {START_TIMEOUT_S:g} s; {_reason(process)}")


async def await_end(
    process: Process,
    *,
    load_s: float,
    elapsed: Callable[[], float],
    on_tick: Callable[[float], None],
    stop: asyncio.Event,
    check: Callable[[], None],
) -> bool:
    """Wait for the load to end; True when `stop` ended it before it was through by itself.

    Parameters
    ----------
    process
        The Locust child.
    load_s
        Planned seconds of arrivals.
    elapsed
        Seconds since the schedule's zero.
    on_tick
        Told the elapsed seconds, a few times per second.
    stop
        Set to end early.
    check
        Raises when another part has died.
    """
    while process.alive:
        seconds = elapsed()
        on_tick(seconds)
        check()
        if stop.is_set():
            await process.stop(GRACE_S)
            return True
        if seconds > load_s + DRAIN_TIMEOUT_S:
            raise PartError(
                f"Locust did not end within {DRAIN_TIMEOUT_S:g} s of its last arrival; "
                f"{_reason(process)}"
            )
        await asyncio.sleep(POLL_S)
    # a load that could not keep the offered rate ends as INVALID: the run goes on and is judged
    if process.returncode not in {ExitCode.DONE, ExitCode.RUN_INVALID}:
        raise PartError(f"Locust failed with {process.ending()}; {_reason(process)}")
    return False


def begun_until_s(folder: Path) -> float:
    """Give how far a stopped load had come, by its own word; 0 when it died without one.

    Worthit's own clock does not tell: a load that is told to stop sends nothing more and
    then waits for replies, and blocks that would have ended meanwhile were never sent.
    """
    try:
        report = json.loads((folder / "generator.json").read_text(encoding="utf-8"))
        return float(report["begun_until_ns"]) / 1e9
    except (OSError, ValueError, KeyError):
        return 0.0


def _write_plan(plan: Plan, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "plan.json"
    file.write_text(json.dumps(plan.as_json()), encoding="utf-8")
    return file


def _zero(file: Path) -> int | None:
    try:
        return int(json.loads(file.read_text(encoding="utf-8"))["t0_ns"])
    except (OSError, ValueError, KeyError):
        return None  # not there, or not yet whole


def _reason(process: Process) -> str:
    """Give the load's own sentence about what went wrong, else the last that it printed.

    Locust prints its tables last, whatever went wrong before them.
    """
    text = process.log.read_text(encoding="utf-8", errors="replace")
    told = [line for line in text.splitlines() if "/ERROR/" in line or "/CRITICAL/" in line]
    return told[-1].partition(": ")[2] if told else process.last_output()
