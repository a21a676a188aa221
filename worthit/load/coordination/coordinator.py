"""Turns a plan into a run: assigns arrivals to workers, also when these come, go, hang or die.

``assignment`` decides who gets what; here are the clock, the messages and the watch over the
workers. A worker that has not reported for a moment is assigned nothing new.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
from locust.rpc import Message
from locust.runners import MasterRunner, Runner

from worthit.contract.limits import WORKER_RATE_PER_S, workers_wanted
from worthit.contract.manifest import LoadReport
from worthit.contract.plan import Plan
from worthit.load.chat_population import personalities_wanted
from worthit.load.coordination import reconciliation
from worthit.load.coordination.assignment import Assignment
from worthit.load.coordination.calibration import CALIBRATION_SECONDS
from worthit.load.coordination.messages import CLOSE, Assigned, Begin, Driven, Progress
from worthit.load.coordination.recent_seconds import RecentSeconds
from worthit.load.coordination.worker_state import Run, WorkerState
from worthit.load.requests.counters import StepCounts, StepTotals
from worthit.load.schedule.schedule import schedule_of

if TYPE_CHECKING:
    from locust.env import Environment

_NS = 1_000_000_000
_START_DELAY_SECONDS = 1.0
"""From the start to the schedule's zero: time for every worker to get ready."""
_CALIBRATING_SECONDS = CALIBRATION_SECONDS + 1.5
"""Added to it for calibration: for the server's start and what is still under way at the end."""
_WATCH_SECONDS = 0.1
_AHEAD_SECONDS = 1.0
"""How far ahead the schedule is assigned: what a worker that hangs keeps to itself, and how long
the master may be held up before a worker runs out of arrivals."""
_SILENT_SECONDS = 0.8
"""A worker silent for this long (it reports four times per second) is assigned nothing."""
_GIVEN_UP_SECONDS = 3.0
"""The end waits this long for a silent worker that has arrivals of its own or an open file."""
_CLOSE_SECONDS = 5.0
"""The end waits this long beyond --stop-timeout for the workers' last reports."""
_REPORTED_LATE_NS = 300_000_000
"""What the workers have reported as sent is this old at most: so is what it is held against."""
_LOCAL = "local"
"""The only process there is, when there is only one."""
_LOGGER = logging.getLogger("worthit.load")


def _warn_of_missing_names(plan: Plan) -> None:
    """Say it before the run if its cold names go beyond what is seeded: they would be 404s."""
    arrivals = schedule_of(plan).different_arrivals
    for knobs in (block.knobs or plan.knobs for block in plan.blocks):
        if not {"popular", "cold_fraction", "personalities"} <= set(knobs):
            continue
        wanted = personalities_wanted(arrivals, knobs)
        if wanted > int(knobs["personalities"]):
            _LOGGER.warning(
                "This schedule may ask for %d personalities and %s are seeded; "
                "seed more (and say so with --personalities), or lower --cold-fraction.",
                wanted,
                knobs["personalities"],
            )
            return


def _advise_more_processes(plan: Plan, workers: int) -> None:
    """Say it before the run if its highest rate is more than its workers can send on time."""
    needed = workers_wanted(plan.peak_per_s)
    if needed > max(workers, 1):
        _LOGGER.warning(
            "This schedule asks for up to %.0f arrivals/s of %d load %s; one core sends about "
            "%.0f on time. Use --processes %d, with a core for each.",
            plan.peak_per_s,
            max(workers, 1),
            "process" if workers <= 1 else "processes",
            WORKER_RATE_PER_S,
            needed,
        )


class Coordinator:
    """Coordinates runs from the master, or from the only process there is."""

    def __init__(self, environment: Environment, runner: Runner) -> None:
        self._environment = environment
        self._runner = runner
        self.run: Run | None = None
        self.live = RecentSeconds()
        self.problem: str | None = None
        """Why the last test could not begin."""
        self._number = 0
        self._workers: dict[str, WorkerState] = {}
        """Every worker that ever reported, in a run or not."""

    def register(self) -> None:
        """Listen to the workers."""
        self._runner.register_message(Progress.NAME, self._on_progress)
        gevent.spawn(self._watch_forever)

    def begin(self) -> None:
        """Forget the last test."""
        self.run = None
        self.problem = None
        self.live.clear()
        for worker in self._workers.values():
            worker.rows_lost = 0
            worker.notes = {}

    @property
    def rows_lost(self) -> int:
        """Rows that the workers could not write since the test began."""
        return sum(worker.rows_lost for worker in self._workers.values())

    @property
    def notes(self) -> Counter[str]:
        """What the workers say of how many requests."""
        return reconciliation.notes_of(self._workers.values())

    def start(
        self,
        plan: Plan,
        *,
        classes: list[str],
        out: Path | None,
        max_in_flight: int,
        client_spans: bool,
        calibrate: bool = False,
    ) -> None:
        """Begin the plan with the workers that are there."""
        self._number += 1
        _warn_of_missing_names(plan)
        t0_ns = plan.start_at_ns
        if t0_ns is None:
            delay_s = _START_DELAY_SECONDS + (_CALIBRATING_SECONDS if calibrate else 0.0)
            t0_ns = time.time_ns() + int(delay_s * _NS)
        if out:
            # first, so that a folder that cannot be written stops the run before it began
            out.mkdir(parents=True, exist_ok=True)
        run = Run(
            number=self._number,
            plan=plan,
            assignment=Assignment(plan, schedule_of(plan)),
            t0_ns=t0_ns,
            classes=classes,
            out=out,
            max_in_flight=max_in_flight,
            client_spans=client_spans,
            calibrate=calibrate and plan.start_at_ns is None,
        )
        run.write_json("started.json", {"t0_ns": t0_ns, "run": plan.run})
        self.run = run
        for name in self._names_there():
            self._take_in(run, name)
        _advise_more_processes(plan, len(run.workers))
        self._assign(run)

    def _names_there(self) -> list[str]:
        if not isinstance(self._runner, MasterRunner):
            return [_LOCAL]
        clients = self._runner.clients
        return [client.id for client in clients.ready + clients.running + clients.spawning]

    def _take_in(self, run: Run, name: str) -> None:
        """Tell a worker of the run and count it in."""
        worker = self._workers.setdefault(name, WorkerState())
        worker.new_run(time.monotonic())
        if isinstance(self._runner, MasterRunner):
            worker.index = self._runner.get_worker_index(name)  # type: ignore[no-untyped-call] # Locust types it not
        begin = Begin(
            number=run.number,
            plan=run.plan,
            t0_ns=run.t0_ns,
            classes=run.classes,
            out=run.out,
            max_in_flight=run.max_in_flight,
            client_spans=run.client_spans,
            calibrate_per_s=self._share_of_peak(run),
        )
        self._runner.send_message(Begin.NAME, begin.to_wire(), name)
        run.workers[name] = worker

    def _share_of_peak(self, run: Run) -> float | None:
        """Return the highest rate that one worker will send at, None where nobody calibrates.

        A worker that joins when the schedule has begun has no time for it.
        """
        if not run.calibrate or time.time_ns() > run.t0_ns - int(_CALIBRATING_SECONDS * _NS):
            return None
        return run.plan.peak_per_s / len(self._names_there())

    def _on_progress(self, msg: Message, **_: object) -> None:
        report, name = Progress.from_wire(msg.data), msg.node_id
        worker = self._workers.setdefault(name, WorkerState())
        worker.heard(time.monotonic(), report)
        self.live.add(name, report)
        run = self.run
        if run is None:
            return
        if report.number == run.number:
            counted = report.counted
            if name in run.workers and counted is not None and counted.driven is not None:
                worker.check = report.check
                self._count(run, name, counted.fresh, counted.driven)
        elif name not in run.workers and not run.ended and name != _LOCAL:
            self._take_in(run, name)
            self._note(run, f"Worker {worker.index} has joined; it is assigned arrivals from now.")

    def _count(self, run: Run, name: str, fresh: dict[int, StepCounts], driven: Driven) -> None:
        """Add one worker's report to the run."""
        worker = run.workers[name]
        for step, counts in fresh.items():
            run.steps.setdefault(step, StepTotals()).add(counts)
            worker.requests += counts.requests
        worker.driven = driven.steps
        for block, sent_ns in driven.last_sent_ns.items():
            run.last_sent_ns[block] = max(run.last_sent_ns.get(block, 0), sent_ns)
        if driven.calibration is not None:
            run.calibration.merge(driven.calibration)
        worker.running = driven.running
        run.assignment.report(name, shares_begun=driven.shares_begun, last_begun=driven.last_begun)
        if not worker.recording and not run.ended and not worker.has_left:
            worker.has_left = True
            self._note(run, f"Worker {worker.index} has left before the end; repeat the run.")

    def _watch_forever(self) -> None:
        while True:
            gevent.sleep(_WATCH_SECONDS)
            run = self.run
            if run is not None:
                offset_ns = time.time_ns() - run.t0_ns - _REPORTED_LATE_NS
                self.live.due = run.assignment.due(min(offset_ns, run.assignment.end_ns))
            self.live.sample(time.time(), scheduled=run is not None)
            if run is None or run.ended:
                continue
            self._note_the_silent(run)
            self._assign(run)
            if self._is_over(run):
                self._all_done(run)

    def _note_the_silent(self, run: Run) -> None:
        now = time.monotonic()
        for name, worker in run.workers.items():
            silent = name != _LOCAL and worker.silent_s(now) > _GIVEN_UP_SECONDS
            if silent and not (worker.silence_noted or worker.has_left):
                self._note(
                    run,
                    f"Worker {worker.index} has not reported for {_GIVEN_UP_SECONDS:g} s: it has "
                    "died, hangs or cannot reach the master. It is assigned no more arrivals; if "
                    "it does not return, those that it was assigned are lost and the run is "
                    "INVALID.",
                )
            worker.silence_noted = silent

    def _note(self, run: Run, sentence: str) -> None:
        elapsed_s = (time.time_ns() - run.t0_ns) / _NS
        run.notes.append(f"{max(elapsed_s, 0):.1f} s: {sentence}")
        _LOGGER.warning("%s", sentence)

    def _listening(self, run: Run) -> list[str]:
        """Return the workers that can be assigned something now."""
        now = time.monotonic()
        return [
            name
            for name, worker in run.workers.items()
            if not worker.has_left and (name == _LOCAL or worker.silent_s(now) < _SILENT_SECONDS)
        ]

    def _assign(self, run: Run) -> None:
        until_ns = time.time_ns() - run.t0_ns + int(_AHEAD_SECONDS * _NS)
        for name, share in run.assignment.assign(until_ns, self._listening(run)):
            assigned = Assigned(number=run.number, share=share)
            self._runner.send_message(Assigned.NAME, assigned.to_wire(), name)

    def _is_over(self, run: Run) -> bool:
        """Whether all is sent and answered, but for what lost workers hold."""
        assignment, now = run.assignment, time.monotonic()
        if not assignment.all_assigned or time.time_ns() - run.t0_ns < assignment.end_ns:
            return False
        for name, worker in run.workers.items():
            if worker.has_left or not (assignment.owes(name) or worker.running):
                continue
            if name == _LOCAL or worker.silent_s(now) < _GIVEN_UP_SECONDS:
                return False
        return bool(run.workers)

    def _all_done(self, run: Run) -> None:
        run.ended = True
        options = self._environment.parsed_options
        if options is not None and options.headless:
            gevent.spawn(self._runner.quit)
        else:
            gevent.spawn(self._runner.stop)

    def stopping(self) -> None:
        """Note that the run was stopped before its plan's end, if it was."""
        if self.run is not None and not self.run.ended:
            self.run.ended = True
            self.run.until_ns = max(time.time_ns() - self.run.t0_ns, 0)
            self.run.stopped_early = self.run.until_ns < self.run.assignment.end_ns

    def close(self) -> None:
        """Have every worker end, and wait for its last report, so that nothing is missing."""
        if not isinstance(self._runner, MasterRunner):
            return
        for name in self._awaited():
            self._runner.send_message(CLOSE, None, name)
        seconds = float(self._environment.stop_timeout or 0.0) + _CLOSE_SECONDS
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._awaited():
            gevent.sleep(0.02)

    def _awaited(self) -> list[str]:
        """Return the workers that have rows to close or spans to send, and are there to do it."""
        now = time.monotonic()
        return [
            name
            for name, worker in self._workers.items()
            if (worker.recording or worker.sending_spans)
            and worker.silent_s(now) < _GIVEN_UP_SECONDS
        ]

    def report(self) -> LoadReport | None:
        """Return what generator.json says of the run; None before the first."""
        return None if self.run is None else reconciliation.report(self.run)

    def in_words(self) -> dict[str, Any] | None:
        """Return what the live page says of the run, None without one."""
        run = self.run
        if run is None:
            return None
        return {
            "name": run.plan.run,
            "scenarios": run.classes,
            "arrivals": run.plan.arrivals,
            "seed": run.plan.seed,
            "elapsed_s": min((time.time_ns() - run.t0_ns) / _NS, run.plan.end_s),
            "duration_s": run.plan.end_s,
            "ended": run.ended,
            "stopped_early": run.stopped_early,
            "notes": run.notes,
            "cap_hits": sum(
                done.cap_hits for worker in run.workers.values() for done in worker.driven.values()
            ),
        }
