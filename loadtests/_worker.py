"""The part of one process in a run: takes deals, drives them, records and reports."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import gevent
from locust.rpc import Message
from locust.runners import Runner

from loadtests._client_spans import from_environment
from loadtests._driver import Deal, Driver, report_error
from loadtests._instrument import Instrument
from loadtests._ledger import Clock, Ledger, warm_up
from loadtests._open_loop import OpenLoopUser
from loadtests._plan import Block, Plan, parse
from loadtests._schedule import Schedule
from loadtests._selfcheck import TIDY_SECONDS, ProcessCheck
from loadtests._tally import pack
from loadtests._whole_file import write_json

if TYPE_CHECKING:
    from locust.env import Environment

REPORT_SECONDS = 0.5
"""How often rows go to disk and a worker reports: what kill -9 can lose."""
PROGRESS = "worthit_progress"
DEAL = "worthit_deal"
LEASE = "worthit_lease"
_FIRST_UNSCHEDULED_DRAW = 1 << 40
"""Draws of requests that no schedule sent begin here, far from those of any plan, one such range a
worker."""
_LOGGER = logging.getLogger("worthit.load")


class Worker:
    """Drives and records in this process, the only one or one of several."""

    def __init__(self, environment: Environment, runner: Runner, instrument: Instrument) -> None:
        self._environment = environment
        self._runner = runner
        self._instrument = instrument
        self._driver: Driver | None = None
        self._driving: gevent.Greenlet | None = None
        self._check = ProcessCheck()
        self._out: Path | None = None
        self._number = -1
        self._epoch = -1
        self._active = False

    @property
    def index(self) -> int:
        """The number of this worker, which no other of the run ever had."""
        return int(getattr(self._runner, "worker_index", 0) or 0)

    def register(self) -> None:
        """Listen to the conductor and begin to report."""
        self._runner.register_message(DEAL, self._on_deal)
        self._runner.register_message(LEASE, self._on_lease)
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

    def _on_deal(self, environment: Environment, msg: Message, **_: object) -> None:
        deal: dict[str, Any] = msg.data
        deals = [Deal(from_ns=from_ns, slot=slot, of=of) for from_ns, slot, of in deal["deals"]]
        if deal["number"] == self._number and self._driver is not None:
            self._epoch = deal["epoch"]
            self._driver.deals = deals
            self._driver.renew(deal["lease_ns"])
            return
        plan = parse(deal["plan"])
        self._number, self._epoch = deal["number"], deal["epoch"]
        self.start_recording(
            out=Path(deal["out"]) if deal["out"] else None,
            run=plan.run,
            block=plan.blocks[0],
            client_spans=deal["client_spans"],
        )
        self._driver = self._new_driver(environment, plan, deal, deals)
        self._driving = gevent.spawn(self._drive, self._driver)

    def _new_driver(
        self, environment: Environment, plan: Plan, deal: dict[str, Any], deals: list[Deal]
    ) -> Driver:
        users = []
        for name in deal["classes"]:
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
            t0_ns=deal["t0_ns"],
            users=users,
            instrument=self._instrument,
            max_in_flight=deal["max_in_flight"],
            deals=deals,
            on_error=report_error(environment),
            lease_ns=deal["lease_ns"],
        )

    def _drive(self, driver: Driver) -> None:
        driver.run()
        self.report()

    def _on_lease(self, msg: Message, **_: object) -> None:
        if self._driver is not None and msg.data["number"] == self._number:
            self._driver.renew(msg.data["lease_ns"])

    def _report_forever(self) -> None:
        while True:
            self.report()
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
        driver = self._driver
        message: dict[str, Any] = {
            "number": self._number,
            "epoch": self._epoch,
            "worker": self.index,
            "check": self._check.as_json(str(self.index)),
            "cpu_share": self._check.cpu_share,
            "in_flight": ledger.open_requests if ledger else 0,
        }
        if ledger is not None:
            lags = ledger.take_lags()
            message["begun"] = ledger.begun
            message["lags"] = [[list(pair) for pair in lags.pairs()], lags.max_ns]
            message["fresh"] = [
                [step, pack(counts)] for step, counts in ledger.take_fresh().items()
            ]
        if driver is not None and ledger is not None:
            message["passed_ns"] = driver.passed_ns
            message["finished"] = driver.finished
            message["due"] = driver.due()
            message["driven"] = [
                [step, done.sent, done.dropped, done.in_flight_max, done.cap_hits]
                for step, done in driver.steps.items()
            ]
            message["last_sent"] = [
                [block, sent - driver.t0_ns] for block, sent in ledger.last_sent_ns.items()
            ]
        return message

    def stopping(self) -> None:
        """Send nothing more; let what is in flight end within Locust's --stop-timeout."""
        if self._driving is not None:
            self._driving.kill()
        if self._driver is not None:
            self._driver.stop(float(self._environment.stop_timeout or 0.0))

    def stopped(self) -> None:
        """Record what never ended, close the files and report for the last time."""
        ledger = self._instrument.ledger
        if ledger is None:
            return
        self._instrument.stop(reason="stopped before it ended")
        self._check.stop()
        message = self._progress(ledger)
        self._runner.send_message(PROGRESS, message)
        if self._out:
            write_json(
                self._out / f"generator-{self.index}.json",
                _own_report(message, ledger.rows_written),
            )
        self._driver = None
        self._active = False


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
    from loadtests._replay import recorded_offsets  # noqa: PLC0415 - reads Parquet, which only a replay needs

    return Schedule(plan, recorded_offsets(Path(plan.replay)))
