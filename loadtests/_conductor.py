"""Turns a plan into a run: deals arrivals to workers, also when these come and go.

A worker may send only what is due before its lease ends, and a new deal begins only when every
lease given under the old one has ended: so no arrival is sent twice, even by a worker that was
stopped and comes back. What a lost worker was dealt and nobody knows to have been sent is counted
as dropped.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
from locust.rpc import Message
from locust.runners import LocalRunner, MasterRunner, Runner

from loadtests._live import Live
from loadtests._plan import Plan
from loadtests._population import personalities_wanted
from loadtests._tally import StepTally, step_rows, unpack_into
from loadtests._whole_file import write_json
from loadtests._worker import DEAL, LEASE, PROGRESS, schedule_of

if TYPE_CHECKING:
    from locust.env import Environment

_NS = 1_000_000_000
_START_DELAY_SECONDS = 1.0
"""From the start to the schedule's zero: time for every worker to get ready."""
_WATCH_SECONDS = 0.25
_LEASE_SECONDS = 3.0
_LOST_AFTER_SECONDS = 2.0
"""A worker that has not reported for this long (it does so twice a second) is taken for lost."""
_LOGGER = logging.getLogger("worthit.load")


@dataclass(slots=True, kw_only=True)
class Member:
    """What the conductor knows of one worker."""

    last_heard: float
    lease_ns: int = 0
    finished: bool = False
    epoch: int = -1
    driven: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)
    check: dict[str, Any] = field(default_factory=dict)
    in_flight: int = 0


@dataclass(slots=True, kw_only=True)
class Run:
    """One run of a plan."""

    number: int
    plan: Plan
    t0_ns: int
    classes: list[str]
    out: Path | None
    max_in_flight: int
    client_spans: bool
    epoch: int = 0
    deals: list[tuple[int, list[str]]] = field(default_factory=list)
    """(from offset in ns, the workers in the order of their slots)."""
    members: dict[str, Member] = field(default_factory=dict)
    steps: dict[int, StepTally] = field(default_factory=dict)
    last_sent_ns: dict[int, int] = field(default_factory=dict)
    ended: bool = False
    stopped_early: bool = False
    until_ns: int | None = None
    """Offset at which it was stopped; None while it runs or when it came to its end."""


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


def _add_up(run: Run, member: Member, data: dict[str, Any]) -> None:
    """Add one worker's report to the run."""
    for step, packed in data.get("fresh", []):
        unpack_into(run.steps.setdefault(step, StepTally()), packed)
    for step, sent, dropped, in_flight_max, cap_hits in data.get("driven", []):
        member.driven[step] = (sent, dropped, in_flight_max, cap_hits)
    for block, sent_ns in data.get("last_sent", []):
        run.last_sent_ns[block] = max(run.last_sent_ns.get(block, 0), sent_ns)


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
        self._seen: dict[str, float] = {}
        """When each worker, in a run or not, last reported."""

    def register(self) -> None:
        """Listen to the workers."""
        self._runner.register_message(PROGRESS, self._on_progress)
        gevent.spawn(self._watch_forever)

    def begin(self) -> None:
        """Forget the last test."""
        self.run = None
        self.problem = None
        self.live.clear()

    def start(
        self,
        plan: Plan,
        *,
        classes: list[str],
        out: Path | None,
        max_in_flight: int,
        client_spans: bool,
    ) -> None:
        """Deal the plan to the workers that are there."""
        self._number += 1
        _warn_of_missing_names(plan)
        now_ns = time.time_ns()
        t0_ns = (
            plan.start_at_ns
            if plan.start_at_ns is not None
            else now_ns + int(_START_DELAY_SECONDS * _NS)
        )
        self.run = run = Run(
            number=self._number,
            plan=plan,
            t0_ns=t0_ns,
            classes=classes,
            out=out,
            max_in_flight=max_in_flight,
            client_spans=client_spans,
        )
        if out:
            out.mkdir(parents=True, exist_ok=True)
            write_json(out / "started.json", {"t0_ns": t0_ns, "run": plan.run})
        if isinstance(self._runner, MasterRunner):
            names = [
                client.id
                for client in self._runner.clients.ready
                + self._runner.clients.running
                + self._runner.clients.spawning
            ]
        else:
            names = ["local"]
        run.deals.append((0, names))
        for name in names:
            run.members[name] = Member(last_heard=time.monotonic())
            self._send_deal(run, name)

    def _lease(self, run: Run, member: Member) -> int | None:
        if isinstance(self._runner, LocalRunner):
            return None
        member.lease_ns = max(
            member.lease_ns, time.time_ns() + int(_LEASE_SECONDS * _NS) - run.t0_ns
        )
        return member.lease_ns

    def _send_deal(self, run: Run, name: str) -> None:
        member = run.members[name]
        deals = [
            (from_ns, names.index(name) if name in names else None, len(names) or 1)
            for from_ns, names in run.deals
        ]
        message = {
            "number": run.number,
            "epoch": run.epoch,
            "plan": run.plan.as_json(),
            "t0_ns": run.t0_ns,
            "deals": deals,
            "lease_ns": self._lease(run, member),
            "classes": run.classes,
            "out": str(run.out) if run.out else None,
            "max_in_flight": run.max_in_flight,
            "client_spans": run.client_spans,
        }
        self._runner.send_message(DEAL, message, name)

    def _on_progress(self, msg: Message, **_: object) -> None:
        data: dict[str, Any] = msg.data
        name = msg.node_id
        now = time.monotonic()
        self._seen[name] = now
        run = self.run
        self.live.add(name, data)
        if run is None or data["number"] != run.number:
            return
        member = run.members.get(name)
        if member is None:
            return
        member.last_heard = now
        member.epoch = data["epoch"]
        member.check = data["check"]
        member.in_flight = data["in_flight"]
        member.finished = data.get("finished", False)
        _add_up(run, member, data)
        if run.ended or member.finished:
            return
        if member.epoch < run.epoch:
            self._send_deal(run, name)
        elif (lease_ns := self._lease(run, member)) is not None:
            self._runner.send_message(LEASE, {"number": run.number, "lease_ns": lease_ns}, name)

    def _watch_forever(self) -> None:
        while True:
            gevent.sleep(_WATCH_SECONDS)
            run = self.run
            self.live.sample(time.time())
            if run is None or run.ended:
                continue
            self._redeal_if_needed(run)
            names = run.deals[-1][1]
            if names and all(run.members[name].finished for name in names):
                self._all_done(run)

    def in_words(self) -> dict[str, Any] | None:
        """Return what the live page says of the run, None without one."""
        run = self.run
        if run is None:
            return None
        elapsed_s = (time.time_ns() - run.t0_ns) / _NS
        return {
            "name": run.plan.run,
            "scenarios": run.classes,
            "arrivals": run.plan.arrivals,
            "seed": run.plan.seed,
            "elapsed_s": min(elapsed_s, run.plan.end_s),
            "duration_s": run.plan.end_s,
            "ended": run.ended,
            "stopped_early": run.stopped_early,
            "cap_hits": sum(
                driven[3] for member in run.members.values() for driven in member.driven.values()
            ),
        }

    def _redeal_if_needed(self, run: Run) -> None:
        if isinstance(self._runner, LocalRunner):
            return
        now = time.monotonic()
        names = run.deals[-1][1]
        alive = [
            name for name in names if now - run.members[name].last_heard < _LOST_AFTER_SECONDS
        ]
        joined = [
            name
            for name, heard in self._seen.items()
            if name not in names and now - heard < _LOST_AFTER_SECONDS
        ]
        if len(alive) == len(names) and not joined:
            return
        from_ns = max(
            [
                time.time_ns() + _NS - run.t0_ns,
                run.deals[-1][0],
                *(member.lease_ns for member in run.members.values()),
            ]
        )
        if from_ns >= round(run.plan.end_s * _NS) and alive:
            # what is left cannot be dealt again in time; only stop waiting for the lost
            run.deals.append((from_ns, alive))
            return
        run.epoch += 1
        run.deals.append((from_ns, alive + joined))
        _LOGGER.warning(
            "Workers now: %d (lost %d, joined %d); the schedule is dealt anew from %.1f s on.",
            len(alive) + len(joined),
            len(names) - len(alive),
            len(joined),
            from_ns / _NS,
        )
        for name in alive + joined:
            run.members.setdefault(name, Member(last_heard=now))
            self._send_deal(run, name)

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
            self.run.stopped_early = self.run.until_ns < round(self.run.plan.end_s * _NS)

    def report(self) -> dict[str, Any] | None:
        """Return the manifest's ``generator`` and ``workers``; None before the first run."""
        run = self.run
        if run is None:
            return None
        for member in run.members.values():
            for step in member.driven:
                run.steps.setdefault(step, StepTally())
        for step, tally in run.steps.items():
            driven = {
                name: member.driven[step]
                for name, member in run.members.items()
                if step in member.driven
            }
            tally.sent = sum(values[0] for values in driven.values())
            tally.dropped = sum(values[1] for values in driven.values())
            tally.in_flight_max = {name: values[2] for name, values in driven.items()}
            tally.cap_hits = sum(values[3] for values in driven.values())
        end_ns = round(run.plan.end_s * _NS)
        until_ns = end_ns
        if run.until_ns is not None:
            # what came due while Locust was busy stopping was not missed by the load
            last_ns = max(run.last_sent_ns.values(), default=0) + 1
            until_ns = min(run.until_ns, end_ns, last_ns)
        due: dict[int, int] = {}
        for window in schedule_of(run.plan).until(until_ns):
            due[window.block.block] = due.get(window.block.block, 0) + len(window.offsets_ns)
        return {
            "generator": step_rows(run.plan, due, run.steps, run.last_sent_ns, until_ns),
            "workers": [member.check for member in run.members.values() if member.check],
            "stopped_early": run.stopped_early,
        }
