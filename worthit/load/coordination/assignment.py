"""Who has been given which arrivals, and what became of them: no arrival twice, none forgotten.

The schedule is dealt in short windows, each to the workers that were heard from lately, at most a
second ahead. What is dealt to a worker is its own: nobody else sends it while it may still do so,
also when it is silent. Only what a worker can no longer send, because it is dead and its journal
says that it had not begun it, is handed to others. Nothing here knows clocks or messages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from worthit.contract.plan import Block, Plan
from worthit.load.coordination.progress_page import Begun
from worthit.load.schedule.schedule import Schedule, Window

WINDOW_NS = 250_000_000
"""How much of the schedule is dealt at a time."""


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
class Single:
    """One arrival by itself, as it is handed from one worker to another."""

    number: int
    """Within the whole plan."""
    block: int
    """Its block's place in the plan."""
    draw: int
    ordinal: int
    offset_ns: int

    def packed(self) -> list[int]:
        """Return it as it travels in a message."""
        return [self.number, self.block, self.draw, self.ordinal, self.offset_ns]


def unpacked(numbers: Sequence[int]) -> Single:
    """Return what ``packed`` gave."""
    number, block, draw, ordinal, offset_ns = numbers
    return Single(number=number, block=block, draw=draw, ordinal=ordinal, offset_ns=offset_ns)


@dataclass(slots=True)
class _Held:
    """What one worker was given and has not yet reported as begun."""

    shares: deque[tuple[Share, list[Window]]] = field(default_factory=deque)
    shares_begun: int = 0
    late: deque[Single] = field(default_factory=deque)
    late_begun: int = 0
    reported: Begun = field(default_factory=Begun)


@dataclass(slots=True)
class Loss:
    """What became of a worker that died, left or was given up."""

    begun: Begun
    """As far as anybody knows."""
    begun_since: list[Single] = field(default_factory=list)
    """Begun after its last report, so in none of its counts."""
    unknown: list[Single] = field(default_factory=list)
    """Perhaps sent: it was given them, and nobody knows how far it came."""
    handed_over: int = 0
    late_begun: list[Single] = field(default_factory=list)
    """Of those that had been handed to it, what it began."""


class Dealing:
    """One run's arrivals, dealt as time goes on."""

    def __init__(self, plan: Plan, schedule: Schedule) -> None:
        self._plan = plan
        self._schedule = schedule
        self._places = {id(block): place for place, block in enumerate(plan.blocks)}
        self.end_ns = round(plan.end_s * 1e9)
        self.dealt_ns = 0
        """Every arrival before this offset has been dealt."""
        self.dealt_to: list[tuple[int, tuple[str, ...]]] = []
        """(from offset in ns, workers in the order of their slots): one entry a change."""
        self.losses: dict[str, Loss] = {}
        self._held: dict[str, _Held] = {}
        self._orphans: list[Single] = []
        self._turn = 0
        self._late_begun: dict[str, list[Single]] = {}
        self._coming: deque[NDArray[np.int64]] = deque()
        self._due = 0

    def deal(self, until_ns: int, workers: Sequence[str]) -> list[tuple[str, Share]]:
        """Deal what is due before ``until_ns``, in whole windows, to these workers."""
        whole_ns = until_ns // WINDOW_NS * WINDOW_NS
        to_ns = self.end_ns if until_ns >= self.end_ns else whole_ns
        if not workers or to_ns <= self.dealt_ns:
            return []
        windows = list(self._schedule.until(to_ns))
        self._coming.extend(window.offsets_ns for window in windows)
        if not self.dealt_to or self.dealt_to[-1][1] != tuple(workers):
            self.dealt_to.append((self.dealt_ns, tuple(workers)))
        dealt = []
        for slot, worker in enumerate(workers):
            share = Share(from_ns=self.dealt_ns, to_ns=to_ns, slot=slot, of=len(workers))
            self._held.setdefault(worker, _Held()).shares.append((share, windows))
            dealt.append((worker, share))
        self.dealt_ns = to_ns
        return dealt

    def report(self, worker: str, *, shares: int, late: int, begun: Begun) -> None:
        """Note that a worker has begun all of so many shares and handed-over arrivals so far."""
        held = self._held.setdefault(worker, _Held())
        while held.shares and held.shares_begun < shares:
            held.shares.popleft()
            held.shares_begun += 1
        while held.late and held.late_begun < late:
            self._late_begun.setdefault(worker, []).append(held.late.popleft())
            held.late_begun += 1
        held.reported = begun

    def lose(self, worker: str, begun: Begun | None) -> Loss:
        """Take back what a worker can no longer send; ``begun`` is None when nobody knows.

        With ``begun``, what it had not begun is handed over by the next ``hand_over``; without,
        what it did not report as begun is unknown for good.
        """
        held = self._held.pop(worker, _Held())
        reported = held.reported
        loss = self.losses[worker] = Loss(begun=begun or reported)
        loss.late_begun = self._late_begun.pop(worker, [])
        orphans = loss.unknown if begun is None else self._orphans
        before = len(orphans)
        for place, single in self._outstanding(held):
            if place is None:
                at, told, came = single.number, reported.in_turn, loss.begun.in_turn
            else:
                at, told, came = place, reported.late, loss.begun.late
            if at > came:
                orphans.append(single)
                continue
            if at > told:
                loss.begun_since.append(single)
            if place is not None:
                loss.late_begun.append(single)
        loss.handed_over = 0 if begun is None else len(orphans) - before
        self._orphans.sort(key=lambda single: single.offset_ns)
        return loss

    def hand_over(self, workers: Sequence[str]) -> dict[str, list[Single]]:
        """Give the orphans to these workers in turn."""
        given: dict[str, list[Single]] = {}
        if not workers:
            return given
        for single in self._orphans:
            worker = workers[self._turn % len(workers)]
            self._turn += 1
            given.setdefault(worker, []).append(single)
            self._held.setdefault(worker, _Held()).late.append(single)
        self._orphans = []
        return given

    @property
    def begun_until_ns(self) -> int:
        """The offset before which every arrival has begun, as far as anybody knows."""
        open_ns = [single.offset_ns for single in self._orphans]
        for loss in self.losses.values():
            open_ns += [single.offset_ns for single in loss.unknown]
        for held in self._held.values():
            for place, single in self._outstanding(held):
                told = held.reported.in_turn if place is None else held.reported.late
                if (single.number if place is None else place) > told:
                    open_ns.append(single.offset_ns)
        return min(open_ns, default=self.dealt_ns)

    def owes(self, worker: str) -> bool:
        """Say whether a worker has been given anything that it has not reported as begun."""
        held = self._held.get(worker)
        return held is not None and bool(held.shares or held.late)

    @property
    def all_dealt(self) -> bool:
        """Whether every arrival of the schedule is with some worker, or was."""
        return self.dealt_ns >= self.end_ns and not self._orphans

    def due(self, offset_ns: int) -> int:
        """Return how many of the dealt arrivals were due by this offset, which only grows."""
        while self._coming:
            offsets = self._coming[0]
            cut = int(np.searchsorted(offsets, offset_ns, side="right"))
            self._due += cut
            if cut < len(offsets):
                self._coming[0] = offsets[cut:]
                break
            self._coming.popleft()
        return self._due

    def begun_by(self, worker: str, schedule: Schedule) -> Iterator[Single]:
        """Yield all that a lost worker had begun, from a schedule read from its start."""
        loss = self.losses[worker]
        starts = [from_ns for from_ns, _ in self.dealt_to[1:]] + [self.dealt_ns]
        for (from_ns, workers), to_ns in zip(self.dealt_to, starts, strict=True):
            for window in schedule.until(to_ns):
                if worker not in workers:
                    continue
                slot, of = workers.index(worker), len(workers)
                share = Share(from_ns=from_ns, to_ns=to_ns, slot=slot, of=of)
                for single in self._singles(share, window):
                    if single.number <= loss.begun.in_turn:
                        yield single
        yield from loss.late_begun

    def _outstanding(self, held: _Held) -> Iterator[tuple[int | None, Single]]:
        """Yield what a worker holds; with its place if it was handed over."""
        for share, windows in held.shares:
            for window in windows:
                yield from ((None, single) for single in self._singles(share, window))
        yield from enumerate(held.late, start=held.late_begun)

    def _singles(self, share: Share, window: Window) -> Iterator[Single]:
        place = self._places[id(window.block)]
        for position in share.positions(window).tolist():
            yield Single(
                number=window.first_number + position,
                block=place,
                draw=window.draw(position),
                ordinal=window.first_ordinal + position,
                offset_ns=int(window.offsets_ns[position]),
            )

    def block_of(self, single: Single) -> Block:
        """Return the block of an arrival."""
        return self._plan.blocks[single.block]
