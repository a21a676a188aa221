"""Sends one worker's share of the schedule, each arrival in a greenlet of its own."""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gevent
from gevent import GreenletExit, getcurrent
from gevent.event import Event

from worthit.contract.plan import Block, Plan
from worthit.load.coordination.assignment import NOTHING_BEGUN, Share
from worthit.load.coordination.messages import StepDriven
from worthit.load.requests.instrument import Instrument
from worthit.load.scenarios import ScheduledUser
from worthit.load.schedule.arrival import Arrival, uniform
from worthit.load.schedule.schedule import Schedule, Window

if TYPE_CHECKING:
    from locust.env import Environment

_AHEAD_NS = 250_000_000
"""Arrivals are computed this long before they are due: not in the moment itself."""
_NS = 1_000_000_000
_LOGGER = logging.getLogger("worthit.load")


@dataclass(slots=True, kw_only=True)
class Driver:
    """One worker's part of one run."""

    plan: Plan
    schedule: Schedule
    t0_ns: int
    users: Sequence[ScheduledUser]
    instrument: Instrument
    max_in_flight: int
    on_error: Callable[[ScheduledUser, Exception], None]
    steps: dict[int, StepDriven] = field(default_factory=dict)
    in_flight: int = 0
    shares_begun: int = 0
    """Shares of which every arrival has begun."""
    last_begun: int = NOTHING_BEGUN
    """The number, within the plan, of the last arrival that has begun."""
    _shares: deque[Share] = field(default_factory=deque)
    _given: Event = field(default_factory=Event)
    _running: set[Any] = field(default_factory=set)
    _room: Event = field(default_factory=Event)

    def give(self, share: Share) -> None:
        """Take a share of the schedule; shares come in order of time."""
        self._shares.append(share)
        self._given.set()

    def run(self) -> None:
        """Send every share as it comes, then wait until nothing is in flight."""
        end_ns = round(self.plan.end_s * _NS)
        share = None
        while share is None or share.to_ns < end_ns:
            share = self._next_share()
            self._follow(share)
            self.shares_begun += 1
        gevent.sleep(max((self.t0_ns + end_ns - self.instrument.now_ns()) / _NS, 0))
        while self.in_flight:
            self._room.clear()
            self._room.wait()

    def _next_share(self) -> Share:
        while not self._shares:
            self._given.clear()
            self._given.wait()
        return self._shares.popleft()

    def _follow(self, share: Share) -> None:
        begins_ns = self.t0_ns + share.from_ns - _AHEAD_NS
        gevent.sleep(max((begins_ns - self.instrument.now_ns()) / _NS, 0))
        for _not_ours in self.schedule.until(share.from_ns):
            pass
        for window in self.schedule.until(share.to_ns):
            self._send_window(window, share.positions(window).tolist())

    def _send_window(self, window: Window, positions: Sequence[int]) -> None:
        step = self.steps.setdefault(window.block.step_key, StepDriven())
        draw, ordinal = window.draw(0), window.first_ordinal
        offsets_ns = window.offsets_ns.tolist()
        for position in positions:
            due_ns = self.t0_ns + offsets_ns[position]
            self._wait_until_due(due_ns, step)
            self.last_begun = window.first_number + position
            self._spawn(window.block, draw + position, ordinal + position, due_ns, step)

    def _wait_until_due(self, due_ns: int, step: StepDriven) -> None:
        wait_ns = due_ns - self.instrument.now_ns()
        if wait_ns > 0:
            gevent.sleep(wait_ns / _NS)
        if self.in_flight >= self.max_in_flight:
            self._wait_for_room(step)

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
        step.sent += 1
        step.in_flight_max = max(step.in_flight_max, self.in_flight)
        self._running.add(gevent.spawn_raw(self._serve, user, arrival, step))

    def _pick(self, draw: int) -> ScheduledUser:
        weights = [max(user.weight, 0) for user in self.users]
        wanted = uniform(self.plan.seed, draw, "scenario") * sum(weights)
        for user, weight in zip(self.users, weights, strict=True):
            wanted -= weight
            if wanted < 0:
                return user
        return self.users[-1]

    def _serve(self, user: ScheduledUser, arrival: Arrival, step: StepDriven) -> None:
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
            self._room.set()

    def stop(self, grace_seconds: float) -> None:
        """Stop the arrivals still under way, after giving them this long to end."""
        deadline_ns = self.instrument.now_ns() + int(grace_seconds * _NS)
        while self._running and self.instrument.now_ns() < deadline_ns:
            gevent.sleep(0.02)
        for greenlet in list(self._running):
            gevent.kill(greenlet)
        gevent.sleep(0)


def report_error(environment: Environment) -> Callable[[ScheduledUser, Exception], None]:
    """Return what tells Locust, once per arrival, that a scenario's own code failed."""
    fire: Callable[..., None] = environment.events.user_error.fire

    def report(user: ScheduledUser, error: Exception) -> None:
        fire(user_instance=user, exception=error, tb=sys.exc_info()[2])
        _LOGGER.debug("An arrival of %s failed: %s", type(user).scenario_name(), error)

    return report
