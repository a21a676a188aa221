"""The part of one process in a run: takes shares, drives them, records and reports."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import gevent
from locust.rpc import Message
from locust.runners import Runner

from worthit.contract.plan import Block, Plan, parse
from worthit.load.coordination.assignment import Share, unpacked
from worthit.load.coordination.driver import Driver, report_error
from worthit.load.coordination.progress_page import Journal
from worthit.load.open_loop import OpenLoopUser
from worthit.load.requests.client_spans import from_environment
from worthit.load.requests.counters import pack
from worthit.load.requests.instrument import Instrument
from worthit.load.requests.request_log import Clock, Ledger, warm_up
from worthit.load.requests.whole_file import write_json
from worthit.load.schedule.schedule import Schedule
from worthit.load.coordination.process_check import TIDY_SECONDS, ProcessCheck

if TYPE_CHECKING:
    from locust.env import Environment

REPORT_SECONDS = 0.25
"""How often a worker reports; every second time its rows go to disk: what kill -9 can lose."""
PROGRESS = "worthit_progress"
"""Worker to conductor: how far it is, and what it has counted since."""
BEGIN = "worthit_begin"
"""Conductor to worker: the plan, and when it begins."""
SHARE = "worthit_share"
"""Conductor to worker: the next part of the schedule that is its own."""
HAND_OVER = "worthit_hand_over"
"""Conductor to worker: arrivals that a lost worker can no longer send."""
CLOSE = "worthit_close"
"""Conductor to worker: end, and report for the last time."""
_LOGGER = logging.getLogger("worthit.load")
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
        self._driving: list[gevent.Greenlet] = []
        self._journal = Journal()
        self._check = ProcessCheck()
        self._out: Path | None = None
        self._number = -1
        self._active = False

    @property
    def index(self) -> int:
        """The number of this worker, which no other of the run ever had."""
        return int(getattr(self._runner, "worker_index", 0) or 0)

    def register(self) -> None:
        """Listen to the conductor and begin to report."""
        self._runner.register_message(BEGIN, self._on_begin)
        self._runner.register_message(SHARE, self._on_share)
        self._runner.register_message(HAND_OVER, self._on_hand_over)
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
        self._out = out
        if out:
            out.mkdir(parents=True, exist_ok=True)
        self._check = ProcessCheck()
        clock = Clock()
        warm_up(block, clock)
        ledger = Ledger(out / f"requests-{self.index}.arrows" if out else None, clock)
        first_draw = _FIRST_UNSCHEDULED_DRAW * (self.index + 1)
        self._instrument.start(
            ledger,
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
        self.start_recording(
            out=Path(told["out"]) if told["out"] else None,
            run=plan.run,
            block=plan.blocks[0],
            client_spans=told["client_spans"],
        )
        self._journal.clear()
        self._driver = driver = self._new_driver(environment, plan, told)
        self._driving = [gevent.spawn(self._drive, driver), gevent.spawn(driver.run_late)]

    def _new_driver(self, environment: Environment, plan: Plan, told: dict[str, Any]) -> Driver:
        users = []
        for name in told["classes"]:
            kind = _user_class(environment, name)
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
            journal=self._journal,
            on_error=report_error(environment),
        )

    def _drive(self, driver: Driver) -> None:
        driver.run()
        self.report()

    def _on_share(self, msg: Message, **_: object) -> None:
        if self._driver is not None and msg.data["number"] == self._number:
            from_ns, to_ns, slot, of = msg.data["share"]
            self._driver.give(Share(from_ns=from_ns, to_ns=to_ns, slot=slot, of=of))

    def _on_hand_over(self, msg: Message, **_: object) -> None:
        if self._driver is not None and msg.data["number"] == self._number:
            self._driver.hand([unpacked(numbers) for numbers in msg.data["arrivals"]])

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
            self._runner.send_message(PROGRESS, self._progress(self._instrument.ledger))
            gevent.sleep(REPORT_SECONDS)

    def _tidy_forever(self) -> None:
        while True:
            gevent.sleep(TIDY_SECONDS)
            ledger = self._instrument.ledger
            if ledger is not None:
                self._check.tidy(ledger.open_requests)

    def report(self) -> None:
        """Write the rows so far and tell the conductor."""
        ledger = self._instrument.ledger
        if ledger is not None:
            ledger.flush()
            self._check.sample()
        self._runner.send_message(PROGRESS, self._progress(ledger))

    def _progress(self, ledger: Ledger | None) -> dict[str, Any]:
        message: dict[str, Any] = {
            "number": self._number,
            "worker": self.index,
            "recording": self._active,
            "journal": self._journal.address and dataclasses.astuple(self._journal.address),
            "check": self._check.as_json(str(self.index)),
            "cpu_share": self._check.cpu_share,
            "in_flight": ledger.open_requests if ledger else 0,
            "rows_lost": ledger.rows_lost if ledger else 0,
        }
        if ledger is not None:
            lags = ledger.take_lags()
            message["begun"] = ledger.begun
            message["lags"] = [[list(pair) for pair in lags.pairs()], lags.max_ns]
            message["fresh"] = [
                [step, pack(counts)] for step, counts in ledger.take_fresh().items()
            ]
            if self._driver is not None:
                message |= self._driven(self._driver, ledger)
        return message

    def _driven(self, driver: Driver, ledger: Ledger) -> dict[str, Any]:
        begun = self._journal.begun
        return {
            "shares": driver.shares_begun,
            "late": driver.late_begun,
            "reached": [begun.in_turn, begun.late],
            "running": driver.in_flight,
            "driven": [
                [step, done.sent, done.dropped, done.in_flight_max, done.cap_hits]
                for step, done in driver.steps.items()
            ],
            "last_sent": [
                [block, sent - driver.t0_ns] for block, sent in ledger.last_sent_ns.items()
            ],
        }

    def stopping(self) -> None:
        """Send nothing more; let what is in flight end within Locust's --stop-timeout."""
        gevent.killall(self._driving)
        if self._driver is not None:
            self._driver.stop(float(self._environment.stop_timeout or 0.0))

    def stopped(self) -> None:
        """Record what never ended, close the files and report for the last time."""
        ledger = self._instrument.ledger
        if ledger is None:
            return
        spans = self._instrument.stop(reason="stopped before it ended")
        self._check.stop()
        self._active = False
        message = self._progress(ledger)
        self._runner.send_message(PROGRESS, message)
        self._driver = None
        if self._out:
            report = self._out / f"generator-{self.index}.json"
            try:
                write_json(report, _own_report(message, ledger.rows_written))
            except OSError as error:  # the conductor has it all the same
                _LOGGER.warning("%s cannot be written: %s.", report, error.strerror)
        if spans is not None:
            # last: an endpoint that hangs must not hold up the report that the master waits for
            spans.close()


def _user_class(environment: Environment, name: str) -> type[OpenLoopUser]:
    """Return a user class by name, also one that was not picked on this worker's command line."""
    known: dict[str, Any] = {**environment.user_classes_by_name}
    known.update(environment.available_user_classes or {})
    found = known[name]
    if not issubclass(found, OpenLoopUser):
        raise TypeError(f"{name} is not an OpenLoopUser, so no schedule can drive it.")
    return cast("type[OpenLoopUser]", found)


def _own_report(message: dict[str, Any], rows: int) -> dict[str, Any]:
    steps = [
        {
            "step": step,
            "arrivals_sent": sent,
            "dropped": dropped,
            "in_flight_max": most,
            "in_flight_cap_hits": hits,
        }
        for step, sent, dropped, most, hits in message.get("driven", [])
    ]
    return {"workers": [message["check"]], "steps": steps, "rows": rows}


def schedule_of(plan: Plan) -> Schedule:
    if plan.arrivals != "replay" or plan.replay is None:
        return Schedule(plan)
    from worthit.load.schedule.replay import recorded_offsets  # noqa: PLC0415 - reads Parquet, which only a replay needs

    return Schedule(plan, recorded_offsets(Path(plan.replay)))
