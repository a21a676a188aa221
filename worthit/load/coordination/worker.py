"""The part of one process in a run: takes shares, drives them, records and reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
from locust.rpc import Message
from locust.runners import Runner

from worthit.contract.plan import Block, Plan, parse
from worthit.load import scenarios
from worthit.load.coordination.assignment import Share
from worthit.load.coordination.calibration import calibrate
from worthit.load.coordination.driver import Driver, report_error
from worthit.load.coordination.process_check import TIDY_SECONDS, ProcessCheck
from worthit.load.requests.client_spans import from_environment
from worthit.load.requests.counters import Histogram, pack
from worthit.load.requests.instrument import Instrument
from worthit.load.requests.request_log import STOPPED, Clock, RequestLog, warm_up
from worthit.load.schedule.schedule import schedule_of

if TYPE_CHECKING:
    from locust.env import Environment

REPORT_SECONDS = 0.25
"""How often a worker reports; every second time its rows go to disk: what kill -9 can lose."""
PROGRESS = "worthit_progress"
"""Worker to coordinator: how far it is, and what it has counted since."""
BEGIN = "worthit_begin"
"""Coordinator to worker: the plan, and when it begins."""
SHARE = "worthit_share"
"""Coordinator to worker: the next part of the schedule that is its own."""
CLOSE = "worthit_close"
"""Coordinator to worker: end, and report for the last time."""
_FIRST_UNSCHEDULED_DRAW = 1 << 40
"""Draws of requests that no schedule sent begin here, far from those of any plan, one such range a
worker."""


class Worker:
    """Drives and records in this process, the only one or one of several."""

    def __init__(self, environment: Environment, runner: Runner, instrument: Instrument) -> None:
        self._environment = environment
        self._runner = runner
        self._instrument = instrument
        self._driver: Driver | None = None
        self._driving: gevent.Greenlet | None = None
        self._check = ProcessCheck()
        self._number = -1
        self._active = False
        self._sending_spans = False
        self._calibration: Histogram | None = None
        """What the coordinator has yet to be told."""

    @property
    def index(self) -> int:
        """The number of this worker, which no other of the run ever had."""
        return int(getattr(self._runner, "worker_index", 0) or 0)

    def register(self) -> None:
        """Listen to the coordinator and begin to report."""
        self._runner.register_message(BEGIN, self._on_begin)
        self._runner.register_message(SHARE, self._on_share)
        self._runner.register_message(CLOSE, self._on_close)
        gevent.spawn(self._report_forever)
        gevent.spawn(self._tidy_forever)

    def start_recording(
        self, *, out: Path | None, run: str, block: Block, client_spans: bool
    ) -> None:
        """Begin to mark and record requests, scheduled or not."""
        if self._active:
            return
        self._active = True
        if out:
            out.mkdir(parents=True, exist_ok=True)
        self._check = ProcessCheck()
        clock = Clock()
        warm_up(block, clock)
        log = RequestLog(out / f"requests-{self.index}.arrows" if out else None, clock)
        first_draw = _FIRST_UNSCHEDULED_DRAW * (self.index + 1)
        self._instrument.start(
            log,
            run=run,
            block=block,
            first_draw=first_draw,
            spans=from_environment(run) if client_spans else None,
        )
        self._check.start()

    def _on_begin(self, environment: Environment, msg: Message, **_: object) -> None:
        told: dict[str, Any] = msg.data
        if told["number"] == self._number:
            return
        plan = parse(told["plan"])
        self._number = told["number"]
        if told["calibrate_per_s"] is not None and not self._active:
            self._calibration = calibrate(
                self._instrument, plan.blocks[0], Clock(), per_s=told["calibrate_per_s"]
            )
        self.start_recording(
            out=Path(told["out"]) if told["out"] else None,
            run=plan.run,
            block=plan.blocks[0],
            client_spans=told["client_spans"],
        )
        self._driver = driver = self._new_driver(environment, plan, told)
        self._driving = gevent.spawn(self._drive, driver)

    def _new_driver(self, environment: Environment, plan: Plan, told: dict[str, Any]) -> Driver:
        users = []
        for name in told["classes"]:
            kind = scenarios.user_class(name)
            if kind.host is None:
                kind.host = plan.blocks[0].host
            user = kind(environment)
            user.plan_knobs = plan.knobs
            user.on_start()
            users.append(user)
        return Driver(
            plan=plan,
            schedule=schedule_of(plan),
            t0_ns=told["t0_ns"],
            users=users,
            instrument=self._instrument,
            max_in_flight=told["max_in_flight"],
            on_error=report_error(environment),
        )

    def _drive(self, driver: Driver) -> None:
        driver.run()
        self.report()

    def _on_share(self, msg: Message, **_: object) -> None:
        if self._driver is not None and msg.data["number"] == self._number:
            from_ns, to_ns, slot, of = msg.data["share"]
            self._driver.give(Share(from_ns=from_ns, to_ns=to_ns, slot=slot, of=of))

    def _on_close(self, **_: object) -> None:
        """Stop as Locust would a moment later: then it is certain that the last report is in."""
        if self._active:
            gevent.spawn(self._runner.stop)
        else:
            self.report()

    def _report_forever(self) -> None:
        while True:
            self.report()
            gevent.sleep(REPORT_SECONDS)
            self._runner.send_message(PROGRESS, self._progress(self._instrument.log))
            gevent.sleep(REPORT_SECONDS)

    def _tidy_forever(self) -> None:
        while True:
            gevent.sleep(TIDY_SECONDS)
            log = self._instrument.log
            if log is not None:
                self._check.tidy(log.open_requests)

    def report(self) -> None:
        """Write the rows so far and tell the coordinator."""
        log = self._instrument.log
        if log is not None:
            log.flush()
            self._check.sample()
        self._runner.send_message(PROGRESS, self._progress(log))

    def _progress(self, log: RequestLog | None) -> dict[str, Any]:
        message: dict[str, Any] = {
            "number": self._number,
            "worker": self.index,
            "recording": self._active,
            "sending_spans": self._sending_spans,
            "check": self._check.as_json(str(self.index)),
            "cpu_share": self._check.cpu_share,
            "in_flight": log.open_requests if log else 0,
            "rows_lost": log.rows_lost if log else 0,
            "notes": list(self._instrument.notes.items()),
        }
        if log is not None:
            message["begun"] = log.begun
            message["delays"] = log.take_delays().packed()
            message["fresh"] = [[step, pack(counts)] for step, counts in log.take_fresh().items()]
            if self._driver is not None:
                message |= self._driven(self._driver, log)
        return message

    def _driven(self, driver: Driver, log: RequestLog) -> dict[str, Any]:
        calibration, self._calibration = self._calibration, None
        return {
            "calibration": None if calibration is None else calibration.packed(),
            "shares_begun": driver.shares_begun,
            "last_begun": driver.last_begun,
            "running": driver.in_flight,
            "driven": [
                [step, done.sent, done.in_flight_max, done.cap_hits]
                for step, done in driver.steps.items()
            ],
            "last_sent": [
                [block, sent - driver.t0_ns] for block, sent in log.last_sent_ns.items()
            ],
        }

    def stopping(self) -> None:
        """Send nothing more; let what is in flight end within Locust's --stop-timeout."""
        if self._driving is not None:
            self._driving.kill()
        if self._driver is not None:
            self._driver.stop(float(self._environment.stop_timeout or 0.0))

    def stopped(self) -> None:
        """Record what never ended, close the files and report for the last time."""
        log = self._instrument.log
        if log is None:
            return
        spans = self._instrument.stop(reason=STOPPED)
        self._check.stop()
        self._active = False
        self._sending_spans = spans is not None
        self._runner.send_message(PROGRESS, self._progress(log))
        self._driver = None
        if spans is not None:
            # after the report, so that an endpoint that hangs cannot hold it up
            spans.close()
            self._sending_spans = False
            self.report()
