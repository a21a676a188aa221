"""Sends one worker's share of the schedule, each arrival in a greenlet of its own."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gevent
import numpy as np
from gevent import GreenletExit, getcurrent
from gevent.event import Event

from loadtests import _draws
from loadtests._arrival import Arrival
from loadtests._instrument import Instrument
from loadtests._open_loop import OpenLoopUser
from loadtests._plan import Block, Plan
from loadtests._schedule import Schedule, Window

if TYPE_CHECKING:
    from locust.env import Environment

_WINDOW_NS = 250_000_000
"""Arrivals computed ahead of time: far enough to be cheap, near enough that a new deal finds
nothing promised."""
_NS = 1_000_000_000
_LOGGER = logging.getLogger("worthit.load")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deal:
    """Who sends what from a moment on: arrival number n belongs to slot n modulo ``of``."""

    from_ns: int
    """Offset from the schedule's zero."""
    slot: int | None
    """None: this worker has no part in it."""
    of: int


@dataclass(slots=True)
class StepDriven:
    """What was done with one step's arrivals (warm-up blocks count as step -1 - step)."""

    sent: int = 0
    dropped: int = 0
    in_flight_max: int = 0
    cap_hits: int = 0


@dataclass(slots=True, kw_only=True)
class Driver:
    """One worker's part of one run."""

    plan: Plan
    schedule: Schedule
    t0_ns: int
    users: Sequence[OpenLoopUser]
    instrument: Instrument
    max_in_flight: int
    deals: list[Deal]
    on_error: Callable[[OpenLoopUser, Exception], None]
    lease_ns: int | None = None
    """Nothing due at or after this offset may be sent yet; None: no limit."""
    steps: dict[int, StepDriven] = field(default_factory=dict)
    passed_ns: int = 0
    """Every arrival of this worker before this offset has been dealt with."""
    in_flight: int = 0
    spawned: int = 0
    """Arrivals begun, this worker's own."""
    finished: bool = False
    _ahead: tuple[Window, int] | None = None
    """The window being sent, and how far it has come."""
    _running: set[Any] = field(default_factory=set)
    _room: Event = field(default_factory=Event)
    _leased: Event = field(default_factory=Event)

    def run(self) -> None:
        """Send everything, then wait until nothing is in flight."""
        now_ns = self.instrument.clock.now_ns
        end_ns = round(self.plan.end_s * _NS)
        from_ns = min(deal.from_ns for deal in self.deals)
        for _skipped in self.schedule.until(from_ns):
            pass
        while from_ns < end_ns:
            limit_ns = self._limit(from_ns, end_ns)
            if limit_ns is None:
                continue
            gevent.sleep(max((self.t0_ns + from_ns - now_ns()) / _NS - _WINDOW_NS / _NS, 0))
            for window in self.schedule.until(limit_ns):
                self._send_window(window)
            self._ahead = None
            self.passed_ns = from_ns = limit_ns
        gevent.sleep(max((self.t0_ns + end_ns - now_ns()) / _NS, 0))
        while self.in_flight:
            self._room.clear()
            self._room.wait()
        self.finished = True

    def _limit(self, from_ns: int, end_ns: int) -> int | None:
        """Return where the next window ends, or None after waiting for the lease."""
        limit_ns = min(from_ns + _WINDOW_NS, end_ns)
        if self.lease_ns is not None:
            if self.lease_ns <= from_ns:
                self._leased.clear()
                self._leased.wait(0.5)
                return None
            limit_ns = min(limit_ns, self.lease_ns)
        return limit_ns

    def renew(self, lease_ns: int | None) -> None:
        """Allow arrivals up to this offset."""
        self.lease_ns = lease_ns
        self._leased.set()

    def _deal_at(self, offset_ns: int) -> Deal:
        for deal in reversed(self.deals):
            if deal.from_ns <= offset_ns:
                return deal
        return Deal(from_ns=0, slot=None, of=1)

    def _send_window(self, window: Window) -> None:
        t0_ns = self.t0_ns
        now_ns = self.instrument.clock.now_ns
        step = self.steps.setdefault(_step_key(window.block), StepDriven())
        draw = window.draw(0)
        for position, offset_ns in enumerate(window.offsets_ns.tolist()):
            self._ahead = (window, position)
            deal = self._deal_at(offset_ns) if len(self.deals) > 1 else self.deals[0]
            if deal.slot is None or (window.first_number + position) % deal.of != deal.slot:
                continue
            due_ns = t0_ns + offset_ns
            wait_ns = due_ns - now_ns()
            if wait_ns > 0:
                gevent.sleep(wait_ns / _NS)
            if self.in_flight >= self.max_in_flight:
                self._wait_for_room(step)
            self._spawn(
                window.block, draw + position, window.first_ordinal + position, due_ns, step
            )

    def due(self) -> int:
        """Return how many arrivals should have begun by now: the offered load so far."""
        if self._ahead is None:
            return self.spawned
        window, position = self._ahead
        now_ns = self.instrument.clock.now_ns() - self.t0_ns
        late = int(np.searchsorted(window.offsets_ns, now_ns, side="right")) - position
        of = self.deals[-1].of
        return self.spawned + max(late - 1, 0) // of

    def _wait_for_room(self, step: StepDriven) -> None:
        step.cap_hits += 1
        while self.in_flight >= self.max_in_flight:
            self._room.clear()
            self._room.wait()

    def _spawn(self, block: Block, draw: int, ordinal: int, due_ns: int, step: StepDriven) -> None:
        user = self.users[0] if len(self.users) == 1 else self._pick(draw)
        arrival = Arrival(
            block=block,
            draw=draw,
            ordinal=ordinal,
            seed=self.plan.seed,
            intended_ns=due_ns,
            scenario=type(user).scenario_name(),
        )
        self.in_flight += 1
        self.spawned += 1
        step.sent += 1
        step.in_flight_max = max(step.in_flight_max, self.in_flight)
        self._running.add(gevent.spawn_raw(self._serve, user, arrival, step))

    def _pick(self, draw: int) -> OpenLoopUser:
        weights = [max(user.weight, 0) for user in self.users]
        wanted = _draws.uniform(self.plan.seed, draw, "scenario") * sum(weights)
        for user, weight in zip(self.users, weights, strict=True):
            wanted -= weight
            if wanted < 0:
                return user
        return self.users[-1]

    def _serve(self, user: OpenLoopUser, arrival: Arrival, step: StepDriven) -> None:
        greenlet = getcurrent()
        greenlet.worthit_arrival = arrival
        try:
            user.arrive(arrival)
        except GreenletExit:
            pass
        except Exception as error:  # noqa: BLE001 - a scenario's own fault must not stop the schedule; it is reported
            self.on_error(user, error)
        finally:
            self.in_flight -= 1
            self._running.discard(greenlet)
            if not arrival.used:
                step.sent -= 1
                step.dropped += 1
            self._room.set()

    def stop(self, grace_seconds: float) -> None:
        """Stop the arrivals still under way, after giving them this long to end."""
        deadline_ns = self.instrument.clock.now_ns() + int(grace_seconds * _NS)
        while self._running and self.instrument.clock.now_ns() < deadline_ns:
            gevent.sleep(0.02)
        for greenlet in list(self._running):
            gevent.kill(greenlet)
        gevent.sleep(0)


def _step_key(block: Block) -> int:
    return -1 - block.step if block.warmup else block.step


def report_error(environment: Environment) -> Callable[[OpenLoopUser, Exception], None]:
    """Return what tells Locust, once per arrival, that a scenario's own code failed."""
    fire: Callable[..., None] = environment.events.user_error.fire

    def report(user: OpenLoopUser, error: Exception) -> None:
        fire(user_instance=user, exception=error, tb=sys.exc_info()[2])
        _LOGGER.debug("An arrival of %s failed: %s", type(user).scenario_name(), error)

    return report
