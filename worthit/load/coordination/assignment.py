"""Which worker sends which arrivals: no arrival is assigned twice, and none is left out.

The schedule is assigned in short windows, each to the workers that were heard from lately, at most
a second ahead. What is assigned to a worker stays its own: nobody else sends it, also when the
worker is silent, because a silent worker may still send it. What a lost worker was assigned and
had not reported as begun counts as not sent. Nothing here knows clocks or messages.

An example: 3 workers and a window with 10 arrivals, the schedule's numbers 20 to 29. A worker's
slot is its place among the workers of this window; it sends the numbers that leave its slot as
remainder when divided by 3:

    worker  slot  arrivals
    a       0     21 24 27
    b       1     22 25 28
    c       2     20 23 26 29

If c is silent when the next window (numbers 30 to 35) is assigned, that window has 2 workers: a,
slot 0, sends 30 32 34, and b, slot 1, sends 31 33 35. So a worker needs only four numbers, its
share (from, to, slot, of), and finds its arrivals in the schedule, which every worker computes.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worthit.contract.plan import Plan
from worthit.load.schedule.schedule import Schedule, Window

WINDOW_NS = 250_000_000
"""How much of the schedule is assigned at a time."""
NOTHING_BEGUN = -1
"""The number reported before a worker's first arrival."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One worker's part of a window: the arrivals whose number is ``slot`` modulo ``of``."""

    from_ns: int
    """Offset from the schedule's zero."""
    to_ns: int
    slot: int
    of: int

    def positions(self, window: Window) -> NDArray[np.int64]:
        """Return which arrivals of a window of the schedule belong to the share."""
        first = (self.slot - window.first_number) % self.of
        return np.arange(first, len(window.offsets_ns), self.of)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotBegun:
    """Arrivals that a worker was assigned and did not report as begun."""

    worker: str
    offsets_ns: NDArray[np.int64]


class Assignment:
    """One run's arrivals, assigned as time goes on."""

    def __init__(self, plan: Plan, schedule: Schedule) -> None:
        self._schedule = schedule
        self.end_ns = round(plan.end_s * 1e9)
        self.assigned_ns = 0
        """Every arrival before this offset has been assigned."""
        self._workers_from: list[tuple[int, tuple[str, ...]]] = []
        """(from offset in ns, workers in the order of their slots): one entry per change."""
        self._shares_given: Counter[str] = Counter()
        self._shares_begun: Counter[str] = Counter()
        self._last_begun: dict[str, int] = {}
        """By worker: the number, within the plan, of the last arrival that it began."""
        self._coming: deque[NDArray[np.int64]] = deque()
        self._due = 0

    def assign(self, until_ns: int, workers: Sequence[str]) -> list[tuple[str, Share]]:
        """Assign what is due before ``until_ns``, in whole windows, to these workers."""
        whole_ns = until_ns // WINDOW_NS * WINDOW_NS
        to_ns = self.end_ns if until_ns >= self.end_ns else whole_ns
        if not workers or to_ns <= self.assigned_ns:
            return []
        self._coming.extend(window.offsets_ns for window in self._schedule.until(to_ns))
        if not self._workers_from or self._workers_from[-1][1] != tuple(workers):
            self._workers_from.append((self.assigned_ns, tuple(workers)))
        self._shares_given.update(workers)
        from_ns, self.assigned_ns = self.assigned_ns, to_ns
        return [
            (worker, Share(from_ns=from_ns, to_ns=to_ns, slot=slot, of=len(workers)))
            for slot, worker in enumerate(workers)
        ]

    def report(self, worker: str, *, shares_begun: int, last_begun: int) -> None:
        """Note how far a worker has come: arrivals begin in the order of their numbers."""
        self._shares_begun[worker] = shares_begun
        self._last_begun[worker] = last_begun

    def owes(self, worker: str) -> bool:
        """Say whether a worker has a share of which it has not begun every arrival."""
        return self._shares_given[worker] > self._shares_begun[worker]

    @property
    def all_assigned(self) -> bool:
        """Whether every arrival of the schedule is assigned."""
        return self.assigned_ns >= self.end_ns

    def due(self, offset_ns: int) -> int:
        """Return how many assigned arrivals were due by this offset, which only grows."""
        while self._coming:
            offsets = self._coming[0]
            cut = int(np.searchsorted(offsets, offset_ns, side="right"))
            self._due += cut
            if cut < len(offsets):
                self._coming[0] = offsets[cut:]
                break
            self._coming.popleft()
        return self._due

    def not_begun(self, schedule: Schedule) -> Iterator[NotBegun]:
        """Yield what workers were assigned and did not begin, as far as they have reported.

        ``schedule`` is the run's, read from its start.
        """
        ends = [*(from_ns for from_ns, _ in self._workers_from[1:]), self.assigned_ns]
        # not strict: before the first worker has come there is one end and no beginning
        for (from_ns, workers), to_ns in zip(self._workers_from, ends, strict=False):
            for window in schedule.until(to_ns):
                numbers = window.first_number + np.arange(len(window.offsets_ns))
                for slot, worker in enumerate(workers):
                    share = Share(from_ns=from_ns, to_ns=to_ns, slot=slot, of=len(workers))
                    positions = share.positions(window)
                    last = self._last_begun.get(worker, NOTHING_BEGUN)
                    positions = positions[numbers[positions] > last]
                    if len(positions):
                        offsets_ns = window.offsets_ns[positions]
                        yield NotBegun(worker=worker, offsets_ns=offsets_ns)
