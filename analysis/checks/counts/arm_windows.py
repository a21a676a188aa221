"""What did a server count in each arm's blocks? One place for all servers' counters.

The recorder reads a server's counts once a second. Of each block the stretch between its first and
its last reading is taken; the spans that ended in it are held against what was counted in it.
Nothing else is in a stretch: no start-up, no warm-up, no other arm. A server counts a call while
its span lasts, so what remains open are the calls that were under way at one of the two readings;
they are counted from the spans themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.rundir.manifest import Block, Manifest
from analysis.stats.intervals import Floats

NS_PER_S = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class NameCount:
    """One statement or command in an arm's stretches, as the spans and the server counted it."""

    name: str
    from_spans: int
    counted: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCount:
    """An arm's stretches together."""

    arm: str
    stretches: tuple[tuple[float, float], ...]
    """Begin and end of each, ns."""
    from_spans: int
    """Calls that ended in them."""
    under_way: int
    """Calls that were under way at the begin or end of one: each may be in it or not."""
    counted: float
    apart: float
    """What the server counted apart from `counted`; the spans may tell of it or not."""
    counted_by: str
    names: tuple[NameCount, ...]
    """Those on which the two differ most come first."""

    @property
    def most(self) -> float:
        """What the server may have counted at most, but for calls under way."""
        return self.counted + self.apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """All readings of a counter: when each began and ended, and how far each name was by then."""

    begins: Floats
    ends: Floats
    calls: Floats
    """One row a reading, one column a name."""
    names: tuple[str, ...]
    """As the calls of the spans are named; several columns may have one."""
    apart: Floats
    """By each reading, calls that were counted apart from the others."""
    counted_by: str


def readings(
    rows: pd.DataFrame,
    names: Mapping[str, str] | None,
    *,
    counter: str,
    label: str,
    counted_by: str,
    mark: str = "reading",
    apart: tuple[str, ...] = (),
) -> Readings | None:
    """Read a server's counter out of its `rows`; None where there are fewer than two readings.

    A row `mark` is a reading, its value the seconds it took. `names` are those to be counted, by
    what stands in `label`, and their names in spans; None takes all as they are.
    """
    taken = rows[rows["name"] == mark].sort_values("t_ns")
    said = rows[rows["name"] == counter]
    said = said.assign(label=[json.loads(text).get(label, "") for text in said["labels"]])
    if names is None:
        names = {one: one for one in sorted(said["label"].unique())}
    if len(taken) < 2 or not names:  # noqa: PLR2004 - begin and end
        return None
    times = taken["t_ns"]
    table = said.pivot_table(index="t_ns", columns="label", values="value", aggfunc="last")
    table = table.reindex(times).ffill().fillna(0.0).reindex(columns=list(names))
    beside = rows[rows["name"].isin(apart)].groupby("t_ns")["value"].sum()
    begins = times.to_numpy(np.float64)
    return Readings(
        begins=begins,
        ends=begins + taken["value"].to_numpy(np.float64) * NS_PER_S,
        calls=table.fillna(0.0).to_numpy(np.float64),
        names=tuple(names.values()),
        apart=beside.reindex(times).ffill().fillna(0.0).to_numpy(np.float64),
        counted_by=counted_by,
    )


def spans_of(chosen: pd.DataFrame, names: pd.Series) -> pd.DataFrame:
    """Give start, end and name of each call, as ``count_by_arm`` takes them."""
    start = chosen["start_ns"].to_numpy(np.float64)
    took = chosen["duration_ns"].fillna(0).to_numpy(np.float64)
    return pd.DataFrame({"start": start, "end": start + took, "name": names.to_numpy()})


def count_by_arm(
    manifest: Manifest, read: Readings | None, calls: pd.DataFrame
) -> tuple[ArmCount, ...]:
    """Hold calls (start, end, name) and readings against each other in each arm's blocks.

    Nothing where all blocks of some arm lasted for less than two readings, where somebody reset
    the counts meanwhile, or where the server was not asked.
    """
    if read is None:
        return ()
    counts = []
    for arm in [one.name for one in manifest.arms]:
        pairs = list(_stretches(_blocks(manifest, arm), read))
        fell = (np.diff(read.calls[a : b + 1], axis=0).min(initial=0) < 0 for a, b in pairs)
        if not pairs or any(fell):
            return ()
        counts.append(_of_arm(arm, pairs, read, calls))
    return tuple(counts)


def short_of_readings(manifest: Manifest, read: Readings | None) -> tuple[str, ...]:
    """Arms none of whose blocks holds two readings, where there are readings."""
    if read is None:
        return ()
    blocks = {arm.name: _blocks(manifest, arm.name) for arm in manifest.arms}
    return tuple(arm for arm, own in blocks.items() if own and not list(_stretches(own, read)))


def _blocks(manifest: Manifest, arm: str) -> list[Block]:
    return [block for block in manifest.measured_blocks if block.arm == arm]


def _stretches(blocks: list[Block], read: Readings) -> Iterator[tuple[int, int]]:
    """Give the first and last reading in each block that holds two."""
    for block in blocks:
        first = int(np.searchsorted(read.begins, block.start_ns, side="left"))
        last = int(np.searchsorted(read.ends, block.end_ns, side="right")) - 1
        if last > first:
            yield first, last


def _of_arm(
    arm: str, pairs: list[tuple[int, int]], read: Readings, calls: pd.DataFrame
) -> ArmCount:
    start, end = calls["start"].to_numpy(), calls["end"].to_numpy()
    ended = np.zeros(len(calls), bool)
    under_way = 0
    grown = np.zeros(len(read.names))
    apart = 0.0
    for first, last in pairs:
        ended |= (end > read.ends[first]) & (end <= read.begins[last])
        for at in (first, last):
            # a call that ended just before the reading, or began while it was taken, is settled
            under_way += int(((start <= read.ends[at]) & (end >= read.begins[at])).sum())
        grown += read.calls[last] - read.calls[first]
        apart += float(read.apart[last] - read.apart[first])
    spoken = calls["name"][ended].value_counts()
    counted = pd.Series(grown, index=list(read.names)).groupby(level=0).sum()
    both = pd.DataFrame({"spans": spoken, "counted": counted}).fillna(0.0)
    both = both[(both > 0).any(axis=1)]
    both = both.loc[(both["spans"] - both["counted"]).abs().sort_values(ascending=False).index]
    return ArmCount(
        arm=arm,
        stretches=tuple((read.ends[a], read.begins[b]) for a, b in pairs),
        from_spans=int(ended.sum()),
        under_way=under_way,
        counted=float(grown.sum()),
        apart=max(0.0, apart),
        counted_by=read.counted_by,
        names=tuple(
            NameCount(name=str(name), from_spans=int(told), counted=float(own))
            for name, told, own in zip(both.index, both["spans"], both["counted"], strict=True)
        ),
    )
