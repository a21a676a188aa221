from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import dataclass, field, replace

import pytest

from tests.support.load.load_plans import a_block, a_plan
from worthit.contract.plan import Plan
from worthit.load.coordination.assignment import (
    NOTHING_BEGUN,
    WINDOW_NS,
    Assignment,
    Share,
)
from worthit.load.schedule.schedule import Schedule, Window


def two_blocks() -> Plan:
    """Return 10 s of 300 arrivals per second in two blocks."""
    off = a_block(rate_per_s=300.0, duration_s=5.0)
    return a_plan(off, replace(off, block=1, arm="on", start_s=5.0))


@dataclass
class SimulatedWorker:
    """A worker as the assignment sees it, that begins what it is given one by one."""

    schedule: Schedule
    shares: deque[Share] = field(default_factory=deque)
    current: deque[int] = field(default_factory=deque)
    """Numbers of the share being sent."""
    sent: list[int] = field(default_factory=list)
    shares_begun: int = 0

    def work(self, count: int) -> None:
        """Begin so many arrivals."""
        for _ in range(count):
            while not self.current and self.shares:
                self._next()
            if self.current:
                self.sent.append(self.current.popleft())
                self.shares_begun += not self.current

    def _next(self) -> None:
        share = self.shares.popleft()
        for _skipped in self.schedule.until(share.from_ns):
            pass
        for window in self.schedule.until(share.to_ns):
            self.current.extend(
                window.first_number + place for place in share.positions(window).tolist()
            )
        self.shares_begun += not self.current

    def report_to(self, assignment: Assignment, name: str) -> None:
        """Report as a worker does."""
        last = self.sent[-1] if self.sent else NOTHING_BEGUN
        assignment.report(name, shares_begun=self.shares_begun, last_begun=last)


def simulate(seed: int) -> tuple[Assignment, dict[str, SimulatedWorker], set[str]]:
    """Simulate a run in which workers join, work, report, fall silent and die at random."""
    chance, plan = random.Random(seed), two_blocks()
    assignment = Assignment(plan, Schedule(plan))
    workers = {name: SimulatedWorker(Schedule(plan)) for name in ("w0", "w1")}
    dead: set[str] = set()
    now_ns = -WINDOW_NS
    while not assignment.all_assigned or any(assignment.owes(w) for w in set(workers) - dead):
        now_ns += chance.randrange(WINDOW_NS)
        living = [name for name in workers if name not in dead]
        heard = [name for name in living if chance.random() < 0.8]
        for name, share in assignment.assign(now_ns + 4 * WINDOW_NS, heard):
            workers[name].shares.append(share)
        for name in living:
            workers[name].work(chance.randrange(120))
            if name in heard:
                workers[name].report_to(assignment, name)
        if len(living) > 1 and chance.random() < 0.1:
            workers[living[0]].work(chance.randrange(30))
            dead.add(living[0])
        if chance.random() < 0.1:
            workers[f"w{len(workers)}"] = SimulatedWorker(Schedule(plan))
    return assignment, workers, dead


@pytest.mark.parametrize("seed", range(6))
def test_no_arrival_is_sent_twice_and_what_a_dead_worker_held_is_counted(seed: int) -> None:
    """Workers may come, hang and die: each arrival is sent once or counted as lost with one."""
    assignment, workers, dead = simulate(seed)

    sent = Counter(number for worker in workers.values() for number in worker.sent)
    planned = sum(Schedule(two_blocks()).counts)
    lost: Counter[str] = Counter()
    for part in assignment.not_begun(Schedule(two_blocks())):
        lost[part.worker] += len(part.offsets_ns)
    assert dead, "nobody died, so nothing was tried"
    assert max(sent.values()) == 1
    assert set(lost) <= dead
    # what a dead worker sent after its last report is counted as lost too: nobody knows of it
    assert planned - len(sent) <= sum(lost.values())
    assert sum(lost.values()) - (planned - len(sent)) <= 150 * len(dead)


def test_the_documented_example_is_what_happens() -> None:
    """Of arrivals 20 to 29, 3 workers send 21 24 27, 22 25 28 and 20 23 26 29."""
    plan = a_plan(a_block(rate_per_s=10.0, duration_s=6.0), arrivals="even")
    schedule = Schedule(plan)
    list(schedule.until(2_000_000_000))
    (window,) = schedule.until(3_000_000_000)

    sent = [numbers_of(window, slot=slot, of=3) for slot in range(3)]

    assert sent == [[21, 24, 27], [22, 25, 28], [20, 23, 26, 29]]


def numbers_of(window: Window, *, slot: int, of: int) -> list[int]:
    """Return the numbers of a window's arrivals that a share has."""
    share = Share(from_ns=0, to_ns=0, slot=slot, of=of)
    return [window.first_number + place for place in share.positions(window).tolist()]


def test_what_is_due_counts_what_the_schedule_wanted() -> None:
    """The offered load follows the schedule, however late it is assigned."""
    plan = two_blocks()
    assignment = Assignment(plan, Schedule(plan))
    assignment.assign(4 * WINDOW_NS, ["w0"])

    due = [assignment.due(quarter * WINDOW_NS) for quarter in (0, 1, 2, 40)]

    wanted = [
        sum(len(window.offsets_ns) for window in Schedule(plan).until(quarter * WINDOW_NS + 1))
        for quarter in (0, 1, 2)
    ]
    assert due[:3] == wanted
    assert due[3] == sum(len(window.offsets_ns) for window in Schedule(plan).until(4 * WINDOW_NS))


@pytest.mark.parametrize("seed", range(20))
def test_what_has_not_begun_is_exactly_what_was_not_sent(seed: int) -> None:
    """With every report in, the arrivals not begun are those assigned and not sent."""
    chance, plan = random.Random(seed), two_blocks()
    assignment = Assignment(plan, Schedule(plan))
    workers = {name: SimulatedWorker(Schedule(plan)) for name in ("w0", "w1")}
    for name, share in assignment.assign(2_000_000_000, list(workers)):
        workers[name].shares.append(share)
    for name, worker in workers.items():
        worker.work(chance.randrange(300))
        worker.report_to(assignment, name)

    not_begun = sorted(
        offset for part in assignment.not_begun(Schedule(plan)) for offset in part.offsets_ns
    )

    sent = {number for worker in workers.values() for number in worker.sent}
    due = [
        (window.first_number + place, int(offset))
        for window in Schedule(plan).until(2_000_000_000)
        for place, offset in enumerate(window.offsets_ns)
    ]
    assert not_begun == [offset for number, offset in due if number not in sent]
