from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter, deque
from dataclasses import dataclass, field, replace

import pytest

from tests.support.load.load_plans import a_block, a_plan
from worthit.contract.plan import Plan
from worthit.load.coordination.assignment import WINDOW_NS, Dealing, Share, Single, unpacked
from worthit.load.coordination.progress_page import NOTHING, Address, Begun, Journal, cross_check
from worthit.load.schedule.schedule import Schedule


def two_blocks() -> Plan:
    """Return 10 s of 300 arrivals a second in two blocks."""
    off = a_block(rate_per_s=300.0, duration_s=5.0)
    return a_plan(off, replace(off, block=1, arm="on", start_s=5.0))


@dataclass
class Played:
    """A worker as the dealing sees it, that begins what it is given one by one."""

    schedule: Schedule
    shares: deque[Share] = field(default_factory=deque)
    turn: deque[int] = field(default_factory=deque)
    """Numbers of the share being sent."""
    late: deque[Single] = field(default_factory=deque)
    sent: list[int] = field(default_factory=list)
    shares_begun: int = 0
    late_begun: int = 0
    in_turn: int = NOTHING

    def work(self, count: int) -> None:
        """Begin so many arrivals, what was handed over and what is in turn alike."""
        for _ in range(count):
            if self.late:
                self.sent.append(self.late.popleft().number)
                self.late_begun += 1
            while not self.turn and self.shares:
                self._next()
            if self.turn:
                self.in_turn = self.turn.popleft()
                self.sent.append(self.in_turn)
                self.shares_begun += not self.turn

    def _next(self) -> None:
        share = self.shares.popleft()
        for _skipped in self.schedule.until(share.from_ns):
            pass
        for window in self.schedule.until(share.to_ns):
            self.turn.extend(
                window.first_number + place for place in share.positions(window).tolist()
            )
        self.shares_begun += not self.turn

    @property
    def begun(self) -> Begun:
        """What its journal says."""
        return Begun(self.in_turn, self.late_begun - 1)

    def report_to(self, dealing: Dealing, name: str) -> None:
        """Report as a worker does."""
        dealing.report(name, shares=self.shares_begun, late=self.late_begun, begun=self.begun)


def play(seed: int, *, journals: bool) -> tuple[Dealing, dict[str, Played]]:
    """Play a run in which workers join, work, report, fall silent and die at random."""
    chance, plan = random.Random(seed), two_blocks()
    dealing = Dealing(plan, Schedule(plan))
    workers = {"w0": Played(Schedule(plan)), "w1": Played(Schedule(plan))}
    now_ns = -WINDOW_NS
    while not (dealing.all_dealt and not any(map(dealing.owes, workers))):
        now_ns += chance.randrange(WINDOW_NS)
        living = [name for name in workers if name not in dealing.losses]
        heard = [name for name in living if chance.random() < 0.8]
        for name, share in dealing.deal(now_ns + 4 * WINDOW_NS, heard):
            workers[name].shares.append(share)
        for name, singles in dealing.hand_over(heard).items():
            workers[name].late.extend(unpacked(single.packed()) for single in singles)
        for name in living:
            workers[name].work(chance.randrange(120))
            if name in heard:
                workers[name].report_to(dealing, name)
        if len(living) > 1 and chance.random() < 0.1:
            workers[living[0]].work(chance.randrange(30))
            dealing.lose(living[0], workers[living[0]].begun if journals else None)
        if chance.random() < 0.1:
            workers[f"w{len(workers)}"] = Played(Schedule(plan))
    return dealing, workers


@pytest.mark.parametrize("seed", range(6))
def test_every_arrival_is_sent_once_whoever_dies(seed: int) -> None:
    """With journals, workers may come, hang and die as they like: each arrival is sent once."""
    dealing, workers = play(seed, journals=True)

    sent = Counter(number for worker in workers.values() for number in worker.sent)
    assert dealing.losses, "nobody died, so nothing was tried"
    assert sent == Counter(range(sum(Schedule(two_blocks()).counts)))


@pytest.mark.parametrize("seed", range(6))
def test_without_journals_none_is_sent_twice_and_the_unknown_are_named(seed: int) -> None:
    """What was not sent is among the unknown, and nothing is both handed on and perhaps sent."""
    dealing, workers = play(seed, journals=False)

    sent = Counter(number for worker in workers.values() for number in worker.sent)
    unknown = [single.number for loss in dealing.losses.values() for single in loss.unknown]
    assert max(sent.values()) == 1
    assert set(range(sum(Schedule(two_blocks()).counts))) - set(sent) <= set(unknown)
    assert len(unknown) == len(set(unknown))


@pytest.mark.parametrize("seed", range(3))
def test_what_a_lost_worker_sent_is_told_one_by_one(seed: int) -> None:
    """The account of a dead worker lists exactly the arrivals it began, with their draws."""
    dealing, workers = play(seed, journals=True)
    plan = two_blocks()

    for name in dealing.losses:
        told = list(dealing.begun_by(name, Schedule(dealing._plan)))
        assert Counter(single.number for single in told) == Counter(workers[name].sent)
        counts = Schedule(plan).counts
        for single in told:
            index = single.number - (counts[0] if single.block else 0)
            assert (single.draw, plan.blocks[single.block].arm) == (
                index,
                ("off", "on")[single.block],
            )


def test_what_is_due_counts_what_the_schedule_wanted() -> None:
    """The offered load follows the schedule, however late it is dealt."""
    plan = two_blocks()
    dealing = Dealing(plan, Schedule(plan))
    dealing.deal(4 * WINDOW_NS, ["w0"])

    due = [dealing.due(quarter * WINDOW_NS) for quarter in (0, 1, 2, 40)]

    wanted = [
        sum(len(window.offsets_ns) for window in Schedule(plan).until(quarter * WINDOW_NS + 1))
        for quarter in (0, 1, 2)
    ]
    assert due[:3] == wanted
    assert due[3] == sum(len(window.offsets_ns) for window in Schedule(plan).until(4 * WINDOW_NS))


NOTE_AND_WAIT = """
import sys, time
from worthit.load.coordination.progress_page import Journal
journal = Journal()
journal.note_in_turn(41)
journal.note_late(7)
print(journal.address.process, journal.address.descriptor, journal.address.token, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="journals need Linux")
def test_a_journal_outlives_its_worker() -> None:
    """A stopped process is not dead; a killed one is at once, and what it had begun is known."""
    process = subprocess.Popen(
        [sys.executable, "-c", NOTE_AND_WAIT], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    number, descriptor, token = process.stdout.readline().split()
    found = cross_check(Address(int(number), int(descriptor), token))
    assert found is not None
    alive = found.dead
    process.send_signal(signal.SIGSTOP)
    stopped = found.dead
    process.kill()
    process.wait(5)
    process.stdout.close()

    assert (alive, stopped, found.dead) == (False, False, True)
    assert found.begun == Begun(41, 7)
    found.close()


def test_somebody_elses_process_is_no_worker() -> None:
    """A process number of another machine names a stranger here: its journal is refused."""
    own = Journal().address
    assert own is not None

    assert cross_check(Address(own.process, own.descriptor, "00" * 16)) is None
    assert cross_check(Address(1, 3, own.token)) is None


def test_what_has_begun_is_known_up_to_the_first_arrival_that_has_not() -> None:
    """Whatever was dealt, lost and handed over: before that offset all was sent."""
    for seed in range(20):
        chance, plan = random.Random(seed), two_blocks()
        dealing = Dealing(plan, Schedule(plan))
        workers = {name: Played(Schedule(plan)) for name in ("w0", "w1")}
        for name, share in dealing.deal(2_000_000_000, list(workers)):
            workers[name].shares.append(share)
        for worker in workers.values():
            worker.work(chance.randrange(300))
        for name, worker in workers.items():
            worker.report_to(dealing, name)
        if seed % 2:
            dealing.lose("w0", workers["w0"].begun)

        until_ns = dealing.begun_until_ns

        sent = {number for worker in workers.values() for number in worker.sent}
        due = [
            (window.first_number + place, int(offset))
            for window in Schedule(plan).until(2_000_000_000)
            for place, offset in enumerate(window.offsets_ns)
        ]
        first_unsent_ns = min(
            (offset for number, offset in due if number not in sent), default=dealing.dealt_ns
        )
        assert first_unsent_ns == until_ns
