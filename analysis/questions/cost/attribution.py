"""Whose request was it? What servers and processes counted, given to arms and blocks.

A counter grows while requests are worked on, and a request may begin in one block and end in the
next. Two cases:

- **The counter is one arm's own** (its service's process, its database's backends, its Redis). A
  block's window reaches from its start to the start of the same arm's next block, the last one's
  to the arm's last reply. The windows cover the arm's whole time without a gap, so nothing is
  lost: what a window misses of its last requests it has of its predecessor's.

      off    |--block 1--|             |--block 4--|
      on                 |--2--||--3--|
      window of 1: from 1's start to 4's start, with all that its requests took to their end

  Block 2's window ends where 3 begins, and what 2's last requests took is 3's. Such neighbours
  differ by far more than two repeats do, so they are one ``turn``, the unit of the interval.

- **The counter is shared by the arms** (one service, one server without databases of their own). A
  block's window reaches to the next block, and is the work of that block's arm. Where a block
  begins between two samples, what grew between them is divided by both arms' rates (see
  ``divided``). That is right while few requests are under way at a block's end. Where more than
  ``MOST_ABROAD`` of the requests' time lies outside their own window, the arms are not told apart.

What the part costs without any request is measured in the gaps (``MIN_GAP_NS`` or longer) in which
none was under way, and taken out at that rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.stats.intervals import Floats

Times = NDArray[np.int64]

MOST_ABROAD = 0.1
"""Of the requests' time: with a tenth in the other arm's window, a difference between the arms is
seen a fifth too small."""

MIN_GAP_NS = 3_000_000_000
"""What is left of such a gap lies between two samples a second apart."""

_SETTLE_NS = 1_000_000_000
"""After the last reply and before the next request: a sample is a second apart from the next, and
what grew between them is taken for a straight line."""

_AFTER_LAST_NS = 1_000_000_000
"""An arm's last window ends so long after its last reply: spans and logs are written then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One counter that only grows, such as the CPU seconds of one process."""

    arm: str | None
    """Whose own it is; None where the arms share it."""
    at_ns: Times
    grown: Floats
    """How much it had grown since its first sample. A restart begins again where it was."""

    def between(self, start: Times, end: Times) -> Floats:
        """How much it grew in each window; straight lines between samples, flat outside them."""
        value = np.interp(np.stack([start, end]), self.at_ns, self.grown)
        return np.asarray(value[1] - value[0], np.float64)


def divided(stream: Stream, starts: Times, arms: Sequence[str], last_ns: int) -> Stream:
    """Put a point at each block's start, at the height that the rates of both arms give.

    ``starts`` are those of all blocks, ``arms`` their arms, and the last ends at ``last_ns``. A
    straight line would give each arm a part of the other's work at every boundary: with samples a
    second apart and blocks of 5 s the arms would differ by a fifteenth too little. With "off" at 3
    a second, "on" at 1 and a block's start in the middle between two samples, of the 2 that grew
    1.5 are "off"'s, not 1.

    The rates are those that explain all samples best (least squares of each interval's growth on
    the seconds of each arm in it). Where they make no sense, the line stays straight.
    """
    order = np.argsort(starts, kind="stable")
    starts = np.append(starts[order], last_ns)
    names = [*np.array([*arms], object)[order], None]
    at = stream.at_ns
    # Before the first block and after the last there is another load or none: column None.
    columns = {name: place for place, name in enumerate(dict.fromkeys([None, *names]))}
    edges = np.union1d(at, starts[(starts > at[0]) & (starts < at[-1])])
    block = np.searchsorted(starts, edges[:-1], side="right") - 1
    column = np.array([columns[names[each] if each >= 0 else None] for each in block], np.intp)
    interval = np.searchsorted(at, edges[:-1], side="right") - 1
    seconds = np.diff(edges) / 1e9
    exposed = np.zeros((len(at) - 1, len(columns)))
    np.add.at(exposed, (interval, column), seconds)
    grown = np.diff(stream.grown)
    used = exposed.any(axis=0)
    rates = np.zeros(len(columns))
    rates[used] = np.linalg.lstsq(exposed[:, used], grown, rcond=None)[0]
    if np.any(rates[used] < 0):
        return stream
    expected = rates[column] * seconds
    whole = np.bincount(interval, expected, minlength=len(grown))[interval]
    part = np.divide(expected, whole, out=seconds / (np.diff(at) / 1e9)[interval], where=whole > 0)
    steps = np.concatenate([[0.0], grown[interval] * part])
    return replace(stream, at_ns=edges, grown=np.cumsum(steps) + stream.grown[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """A window for each of some blocks, in the order of the blocks."""

    start: Times
    end: Times


def streams(samples: pd.DataFrame, arm_of: pd.Series) -> list[Stream]:
    """Make one stream of each label; ``arm_of`` gives the arm of each sample, or null."""
    found = []
    for _, own in samples.assign(owner=arm_of).groupby("labels", sort=False):
        ordered = own.sort_values("t_ns", kind="stable")
        steps = np.diff(ordered["value"].to_numpy("float64"), prepend=ordered["value"].iloc[0])
        owner = ordered["owner"].iloc[0]
        found.append(
            Stream(
                arm=owner if isinstance(owner, str) else None,
                at_ns=ordered["t_ns"].to_numpy("int64"),
                grown=np.cumsum(np.maximum(steps, 0.0)),
            )
        )
    return found


def windows(starts: Times, all_starts: Times, last_ns: int) -> Windows:
    """From each block's start to the next of ``all_starts``.

    Those are the starts of the same arm's blocks, or of all blocks, the warm-up's among them.
    """
    later = np.append(np.sort(all_starts), last_ns + _AFTER_LAST_NS)
    return Windows(start=starts, end=later[np.searchsorted(later, starts, side="right")])


def turns(blocks: pd.DataFrame) -> pd.Series:
    """Number the stretches in which one arm was on, by block; ``blocks``: block, arm, start_ns."""
    ordered = blocks.sort_values("start_ns")
    changed = ordered["arm"].ne(ordered["arm"].shift())
    return pd.Series(changed.cumsum().to_numpy(), index=ordered["block"])


def use_of(
    own: Sequence[Stream], window: Windows, start: Times, end: Times
) -> tuple[Floats, float | None]:
    """Growth in each window without what the part uses in any case, and that, per second.

    ``start`` and ``end`` are those of the requests that the streams served.
    """
    until = min(int(stream.at_ns[-1]) for stream in own)
    idle = idle_rate(own, gaps(start, end, until))
    grown = np.sum([stream.between(window.start, window.end) for stream in own], axis=0)
    seconds = (window.end - window.start) / 1e9
    return np.asarray(grown - (idle or 0.0) * seconds, np.float64), idle


def abroad(windows: Windows, block_of: NDArray[np.intp], start: Times, end: Times) -> float:
    """Which part of the requests' time lies after the end of their own block's window."""
    outside = np.clip(end - np.maximum(windows.end[block_of], start), 0, None)
    whole = float(np.sum(end - start))
    return float(np.sum(outside)) / whole if whole > 0 else 0.0


def gaps(start: Times, end: Times, until_ns: int) -> list[tuple[int, int]]:
    """Times after the first request in which none was under way, long enough to be measured."""
    if not len(start):
        return []
    order = np.argsort(start, kind="stable")
    reached = np.maximum.accumulate(end[order])
    following = np.append(start[order][1:], until_ns)
    idle = following - reached >= MIN_GAP_NS
    return [
        (int(a) + _SETTLE_NS, int(b) - _SETTLE_NS)
        for a, b in zip(reached[idle], following[idle], strict=True)
    ]


def idle_rate(own: Sequence[Stream], idle: Sequence[tuple[int, int]]) -> float | None:
    """Growth per second of all streams together in the gaps; None where there is no gap."""
    if not own or not idle:
        return None
    start, end = (np.array(ends, np.int64) for ends in zip(*idle, strict=True))
    grown = sum(float(stream.between(start, end).sum()) for stream in own)
    seconds = float(np.sum(end - start)) / 1e9
    return grown / seconds if seconds > 0 else None
