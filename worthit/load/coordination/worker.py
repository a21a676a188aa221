"""The part of one process in a run: takes shares, drives them, records and reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import gevent
from locust.rpc import Message
from locust.runners import Runner

from worthit.contract.plan import Block
from worthit.load import scenarios
from worthit.load.coordination.calibration import calibrate
from worthit.load.coordination.driver import Driver, report_error
from worthit.load.coordination.messages import (
    CLOSE,
    Assigned,
    Begin,
    Counted,
    Driven,
    Progress,
)
from worthit.load.coordination.process_check import TIDY_SECONDS, ProcessCheck
from worthit.load.requests.client_spans import from_environment
from worthit.load.requests.counters import Histogram
from worthit.load.requests.instrument import Instrument
from worthit.load.requests.request_log import STOPPED, Clock, RequestLog, warm_up
from worthit.load.schedule.schedule import schedule_of

if TYPE_CHECKING:
    from locust.env import Environment

REPORT_SECONDS = 0.25
"""How often a worker reports; every second time its rows go to disk: what kill -9 can lose."""
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
        self._runner.register_message(Begin.NAME, self._on_begin)
        self._runner.register_message(Assigned.NAME, self._on_share)
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
        told = Begin.from_wire(msg.data)
        if told.number == self._number:
            return
        plan = told.plan
        self._number = told.number
        if told.calibrate_per_s is not None and not self._active:
            self._calibration = calibrate(
                self._instrument, plan.blocks[0], Clock(), per_s=told.calibrate_per_s
            )
        self.start_recording(
            out=told.out, run=plan.run, block=plan.blocks[0], client_spans=told.client_spans
        )
        self._driver = driver = self._new_driver(environment, told)
        self._driving = gevent.spawn(self._drive, driver)

    def _new_driver(self, environment: Environment, told: Begin) -> Driver:
        plan, users = told.plan, []
        for name in told.classes:
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
            t0_ns=told.t0_ns,
            users=users,
            instrument=self._instrument,
            max_in_flight=told.max_in_flight,
            on_error=report_error(environment),
        )

    def _drive(self, driver: Driver) -> None:
        driver.run()
        self.report()

    def _on_share(self, msg: Message, **_: object) -> None:
        assigned = Assigned.from_wire(msg.data)
        if self._driver is not None and assigned.number == self._number:
            self._driver.give(assigned.share)

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
            self._tell(self._instrument.log)
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
        self._tell(log)

    def _tell(self, log: RequestLog | None) -> None:
        """Tell the coordinator how far this is, and what was counted since the last time."""
        progress = Progress(
            number=self._number,
            worker=self.index,
            recording=self._active,
            sending_spans=self._sending_spans,
            check=self._check.found(self.index),
            cpu_share=self._check.cpu_share,
            in_flight=log.open_requests if log else 0,
            rows_lost=log.rows_lost if log else 0,
            notes=dict(self._instrument.notes),
            counted=None if log is None else self._counted(log),
        )
        self._runner.send_message(Progress.NAME, progress.to_wire())

    def _counted(self, log: RequestLog) -> Counted:
        return Counted(
            begun=log.begun,
            delays=log.take_delays(),
            fresh=log.take_fresh(),
            driven=None if self._driver is None else self._driven(self._driver, log),
        )

    def _driven(self, driver: Driver, log: RequestLog) -> Driven:
        calibration, self._calibration = self._calibration, None
        return Driven(
            shares_begun=driver.shares_begun,
            last_begun=driver.last_begun,
            running=driver.in_flight,
            steps=driver.steps,
            last_sent_ns={
                block: sent_ns - driver.t0_ns for block, sent_ns in log.last_sent_ns.items()
            },
            calibration=calibration,
        )

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
        self._tell(log)
        self._driver = None
        if spans is not None:
            # after the report, so that an endpoint that hangs cannot hold it up
            spans.close()
            self._sending_spans = False
            self.report()
