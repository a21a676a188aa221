"""Turns a plan into a run: deals arrivals to workers, also when these come, go, hang or die.

What to deal to whom is decided in ``_dealing``; here are the clock, the messages and the watch
over the workers. One that has not reported for a moment gets nothing new; one that is dead has
what it had not begun handed to the others at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
from locust.rpc import Message
from locust.runners import MasterRunner, Runner

from worthit.contract.plan import Plan
from worthit.load.chat_population import personalities_wanted
from worthit.load.coordination import reconciliation
from worthit.load.coordination.assignment import Dealing
from worthit.load.coordination.progress_page import Address, Begun, cross_check
from worthit.load.coordination.worker import BEGIN, CLOSE, HAND_OVER, PROGRESS, SHARE, schedule_of
from worthit.load.coordination.worker_state import Member, Run
from worthit.load.requests.counters import StepTally, unpack_into
from worthit.load.requests.recent_seconds import Live
from worthit.load.requests.whole_file import write_json

if TYPE_CHECKING:
    from locust.env import Environment

_NS = 1_000_000_000
_START_DELAY_SECONDS = 1.0
"""From the start to the schedule's zero: time for every worker to get ready."""
_WATCH_SECONDS = 0.1
_AHEAD_SECONDS = 1.0
"""How far ahead the schedule is dealt: what a worker that hangs keeps to itself, and how long the
master may be held up before anybody notices."""
_SILENT_SECONDS = 0.8
"""A worker silent for this long (it reports four times a second) is dealt nothing."""
_GIVEN_UP_SECONDS = 3.0
"""The end waits this long for a worker that has fallen silent with arrivals of its own."""
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


class Conductor:
    """Conducts runs from the master, or from the only process there is."""

    def __init__(self, environment: Environment, runner: Runner) -> None:
        self._environment = environment
        self._runner = runner
        self.run: Run | None = None
        self.live = Live()
        self.problem: str | None = None
        """Why the last test could not begin."""
        self._number = 0
        self._workers: dict[str, Member] = {}
        """Every worker that ever reported, in a run or not."""

    def register(self) -> None:
        """Listen to the workers."""
        self._runner.register_message(PROGRESS, self._on_progress)
        gevent.spawn(self._watch_forever)

    def begin(self) -> None:
        """Forget the last test."""
        self.run = None
        self.problem = None
        self.live.clear()
        for member in self._workers.values():
            member.rows_lost = 0

    @property
    def rows_lost(self) -> int:
        """Rows that the workers could not write since the test began."""
        return sum(member.rows_lost for member in self._workers.values())

    def start(
        self,
        plan: Plan,
        *,
        classes: list[str],
        out: Path | None,
        max_in_flight: int,
        client_spans: bool,
    ) -> None:
        """Begin the plan with the workers that are there."""
        self._number += 1
        _warn_of_missing_names(plan)
        t0_ns = plan.start_at_ns
        if t0_ns is None:
            t0_ns = time.time_ns() + int(_START_DELAY_SECONDS * _NS)
        if out:
            # first, so that a folder that cannot be written stops the run before it began
            out.mkdir(parents=True, exist_ok=True)
            write_json(out / "started.json", {"t0_ns": t0_ns, "run": plan.run})
        self.run = run = Run(
            number=self._number,
            plan=plan,
            dealing=Dealing(plan, schedule_of(plan)),
            t0_ns=t0_ns,
            classes=classes,
            out=out,
            max_in_flight=max_in_flight,
            client_spans=client_spans,
        )
        for name in self._names_there():
            self._take_in(run, name)
        self._deal(run)

    def _names_there(self) -> list[str]:
        if not isinstance(self._runner, MasterRunner):
            return [_LOCAL]
        clients = self._runner.clients
        return [client.id for client in clients.ready + clients.running + clients.spawning]

    def _take_in(self, run: Run, name: str) -> None:
        """Tell a worker of the run and count it in."""
        member = self._workers.setdefault(name, Member())
        member.new_run(time.monotonic())
        if isinstance(self._runner, MasterRunner):
            member.index = self._runner.get_worker_index(name)  # type: ignore[no-untyped-call] # Locust types it not
        message = {
            "number": run.number,
            "plan": run.plan.as_json(),
            "t0_ns": run.t0_ns,
            "classes": run.classes,
            "out": str(run.out) if run.out else None,
            "max_in_flight": run.max_in_flight,
            "client_spans": run.client_spans,
        }
        self._runner.send_message(BEGIN, message, name)
        run.members[name] = member

    def _on_progress(self, msg: Message, **_: object) -> None:
        data: dict[str, Any] = msg.data
        name, now = msg.node_id, time.monotonic()
        member = self._workers.setdefault(name, Member())
        member.heard(now, data)
        if member.journal is None and data["journal"] and not member.journal_asked:
            member.journal_asked = True
            member.journal = cross_check(Address(*data["journal"]))
        self.live.add(name, data)
        run = self.run
        if run is None:
            return
        if data["number"] != run.number:
            if name not in run.members and not run.ended and name != _LOCAL:
                self._take_in(run, name)
                self._note(run, f"Worker {member.index} has joined: it gets its part from now on.")
            return
        if name in run.members and "shares" in data and name not in run.dealing.losses:
            self._count(run, name, member, data)

    def _count(self, run: Run, name: str, member: Member, data: dict[str, Any]) -> None:
        """Add one worker's report to the run."""
        for step, packed in data["fresh"]:
            unpack_into(run.steps.setdefault(step, StepTally()), packed)
            member.requests += packed["requests"]
        for step, sent, dropped, in_flight_max, cap_hits in data["driven"]:
            member.driven[step] = (sent, dropped, in_flight_max, cap_hits)
        for block, sent_ns in data["last_sent"]:
            run.last_sent_ns[block] = max(run.last_sent_ns.get(block, 0), sent_ns)
        member.check = data["check"]
        member.running = data["running"]
        begun = Begun(*data["reached"])
        run.dealing.report(name, shares=data["shares"], late=data["late"], begun=begun)
        if not data["recording"] and not run.ended:
            self._lose(run, name, begun, "has left")

    def _watch_forever(self) -> None:
        while True:
            gevent.sleep(_WATCH_SECONDS)
            run = self.run
            if run is not None:
                offset_ns = time.time_ns() - run.t0_ns - _REPORTED_LATE_NS
                self.live.due = run.dealing.due(min(offset_ns, run.dealing.end_ns))
            self.live.sample(time.time(), scheduled=run is not None)
            if run is None or run.ended:
                continue
            self._bury(run)
            self._deal(run)
            if self._is_over(run):
                self._all_done(run)

    def _bury(self, run: Run) -> None:
        """Find the dead among the workers of this machine."""
        for name, member in list(run.members.items()):
            if member.journal is not None and name not in run.dealing.losses and member.is_dead:
                self._lose(run, name, member.journal.begun, "is dead")

    def _lose(self, run: Run, name: str, begun: Begun | None, why: str) -> None:
        loss = run.dealing.lose(name, begun)
        self._note(
            run,
            f"Worker {run.members[name].index} {why}: {loss.handed_over} arrivals that it had "
            "not begun are handed to the others.",
        )

    def _note(self, run: Run, sentence: str) -> None:
        elapsed_s = (time.time_ns() - run.t0_ns) / _NS
        run.notes.append(f"{max(elapsed_s, 0):.1f} s: {sentence}")
        _LOGGER.warning("%s", sentence)

    def _listening(self, run: Run) -> Iterator[str]:
        """Yield the workers that can be given something now."""
        now = time.monotonic()
        for name, member in run.members.items():
            if name in run.dealing.losses:
                continue
            if name == _LOCAL or member.silent_s(now) < _SILENT_SECONDS:
                yield name

    def _deal(self, run: Run) -> None:
        listening = list(self._listening(run))
        until_ns = time.time_ns() - run.t0_ns + int(_AHEAD_SECONDS * _NS)
        for name, share in run.dealing.deal(until_ns, listening):
            packed = [share.from_ns, share.to_ns, share.slot, share.of]
            self._runner.send_message(SHARE, {"number": run.number, "share": packed}, name)
        for name, singles in run.dealing.hand_over(listening).items():
            arrivals = [single.packed() for single in singles]
            message = {"number": run.number, "arrivals": arrivals}
            self._runner.send_message(HAND_OVER, message, name)

    def _is_over(self, run: Run) -> bool:
        """Whether all is sent and answered, but for what silent workers hold."""
        dealing, now = run.dealing, time.monotonic()
        if not dealing.all_dealt or time.time_ns() - run.t0_ns < dealing.end_ns:
            return False
        for name, member in run.members.items():
            if name in dealing.losses or not (dealing.owes(name) or member.running):
                continue
            if name == _LOCAL or member.silent_s(now) < _GIVEN_UP_SECONDS:
                return False
        return bool(run.members)

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
            self.run.stopped_early = self.run.until_ns < self.run.dealing.end_ns

    def close(self) -> None:
        """Have every worker end, and wait for its last report, so that nothing is missing."""
        if not isinstance(self._runner, MasterRunner):
            return
        now = time.monotonic()
        waiting = {
            name: member
            for name, member in self._workers.items()
            if member.recording and member.silent_s(now) < _GIVEN_UP_SECONDS
        }
        for name in waiting:
            self._runner.send_message(CLOSE, None, name)
        deadline = now + float(self._environment.stop_timeout or 0.0) + _CLOSE_SECONDS
        while time.monotonic() < deadline and any(
            member.recording and not member.is_dead for member in waiting.values()
        ):
            gevent.sleep(0.02)

    def report(self) -> dict[str, Any] | None:
        """Return the manifest's ``generator`` and ``workers``; None before the first run."""
        run = self.run
        if run is None:
            return None
        for name, member in run.members.items():
            if name not in run.dealing.losses and (
                member.recording or (run.dealing.owes(name) and not run.stopped_early)
            ):
                dead = member.journal is not None and member.is_dead
                begun = member.journal.begun if dead and member.journal else None
                run.dealing.lose(name, begun)
        return reconciliation.report(run, schedule_of)

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
                driven[3] for member in run.members.values() for driven in member.driven.values()
            ),
        }
