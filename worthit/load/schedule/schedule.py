"""When every arrival is due: a pure function of the plan, generated window by window.

Arrivals of rate r(t) are a unit-rate process (gaps exponential with mean 1, or exactly 1) put
through the inverse of the integrated rate, so steps and ramps need no code of their own (time
rescaling; Lewis and Shedler 1979, section 2). The generator is counter-based (Philox, keyed by
seed and pair and step): blocks of one pair and step get the same arrivals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worthit.contract.plan import DRAWS_PER_BLOCK, Block, Plan, PlanError

_CHUNK = 4096
"""Arrivals generated at a time: 32 KiB, whatever the run's length."""
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Arrivals of one block, in order of time; the arrays are of one length."""

    block: Block
    first_index: int
    """Index, within its block, of the first arrival."""
    first_number: int
    """Number, within the whole plan, of the first arrival: what is divided between workers."""
    first_ordinal: int
    """Number of the first arrival among all different draws: equal in both arms of a pair, never
    used again in an arm."""
    offsets_ns: NDArray[np.int64]
    """When each is due, from the schedule's zero."""

    def draw(self, position: int) -> int:
        """Return the draw of the arrival at this position of the window."""
        return self.block.key * DRAWS_PER_BLOCK + self.first_index + position


def block_offsets(
    block: Block, *, seed: int, arrivals: str, recorded_ns: NDArray[np.int64] | None = None
) -> Iterator[NDArray[np.int64]]:
    """Yield when the block's arrivals are due, in ns from the schedule's zero, chunk by chunk."""
    start_ns = round(block.start_s * _NS)
    if arrivals == "replay":
        if recorded_ns is None:
            raise ValueError("a replayed schedule needs the recorded arrivals' offsets")
        yield _inside(recorded_ns, block) + start_ns
        return
    expected = block.expected_arrivals
    if expected <= 0.0:
        return
    for unit in _unit_process(block, seed=seed, arrivals=arrivals):
        within = unit[unit < expected]
        seconds = _invert_rate(within, block)
        # rounded, and never onto the first nanosecond that belongs to the next block
        within_ns = np.minimum(np.rint(seconds * _NS), round(block.duration_s * _NS) - 1)
        yield start_ns + within_ns.astype(np.int64)
        if len(within) < len(unit):
            return


def _inside(recorded_ns: NDArray[np.int64], block: Block) -> NDArray[np.int64]:
    return recorded_ns[(recorded_ns >= 0) & (recorded_ns < round(block.duration_s * _NS))]


def _unit_process(block: Block, *, seed: int, arrivals: str) -> Iterator[NDArray[np.float64]]:
    """Yield the points of a process of rate one, without end."""
    if arrivals == "even":
        first = 0
        while True:
            yield np.arange(first, first + _CHUNK, dtype=np.float64)
            first += _CHUNK
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, block.key], dtype=np.uint64)))
    last = 0.0
    while True:
        points = last + np.cumsum(rng.standard_exponential(_CHUNK))
        last = float(points[-1])
        yield points


def _invert_rate(unit: NDArray[np.float64], block: Block) -> NDArray[np.float64]:
    """Return when the integrated rate reaches ``unit``; this form is exact for flat ramps too."""
    start = block.rate_per_s
    slope = (block.final_rate_per_s - start) / block.duration_s
    root = np.sqrt(np.maximum(start * start + 2.0 * slope * unit, 0.0))
    denominator = start + root
    return np.divide(2.0 * unit, denominator, out=np.zeros_like(unit), where=denominator > 0.0)


def planned_counts(plan: Plan, recorded_ns: NDArray[np.int64] | None = None) -> list[int]:
    """Return the number of arrivals of each block, in the plan's order."""
    counts: list[int] = []
    known: dict[tuple[object, ...], int] = {}
    for block in plan.blocks:
        same = (block.key, block.rate_per_s, block.rate_end_per_s, block.duration_s)
        if same not in known:
            chunks = block_offsets(
                block, seed=plan.seed, arrivals=plan.arrivals, recorded_ns=recorded_ns
            )
            known[same] = sum(len(chunk) for chunk in chunks)
        counts.append(known[same])
    return counts


def first_ordinals(plan: Plan, counts: list[int]) -> list[int]:
    """Return, for each block, the ordinal of its first arrival.

    Blocks of one pair and step share their ordinals between arms; a second block of the same pair
    and step in the *same* arm (such as a warm-up) gets new ones, so that what is asked for once in
    an arm is not asked for again.
    """
    seen: dict[tuple[str, int], int] = {}
    keys: list[tuple[int, int]] = []
    sizes: dict[tuple[int, int], int] = {}
    for block, count in zip(plan.blocks, counts, strict=True):
        occurrence = seen.get((block.arm, block.key), 0)
        seen[block.arm, block.key] = occurrence + 1
        key = (block.key, occurrence)
        keys.append(key)
        sizes[key] = max(sizes.get(key, 0), count)
    firsts: dict[tuple[int, int], int] = {}
    total = 0
    for key, size in sizes.items():
        firsts[key] = total
        total += size
    return [firsts[key] for key in keys]


class Schedule:
    """A plan's arrivals, read forwards once."""

    def __init__(self, plan: Plan, recorded_ns: NDArray[np.int64] | None = None) -> None:
        self.counts = planned_counts(plan, recorded_ns)
        self._plan = plan
        self._recorded_ns = recorded_ns
        self._ordinals = first_ordinals(plan, self.counts)
        both = zip(self._ordinals, self.counts, strict=True)
        self.different_arrivals = max((first + count for first, count in both), default=0)
        """The largest ordinal plus 1."""
        self._windows = self._all()
        self._pending: Window | None = None

    def until(self, limit_ns: int) -> Iterator[Window]:
        """Yield the arrivals that are due before ``limit_ns`` and have not been yielded yet."""
        while True:
            window = self._pending or next(self._windows, None)
            self._pending = None
            if window is None:
                return
            cut = int(np.searchsorted(window.offsets_ns, limit_ns, side="left"))
            if cut == len(window.offsets_ns):
                yield window
                continue
            if cut:
                yield _part(window, 0, cut)
            self._pending = _part(window, cut, len(window.offsets_ns))
            return

    def _all(self) -> Iterator[Window]:
        number = 0
        for position, block in enumerate(self._plan.blocks):
            index = 0
            chunks = block_offsets(
                block,
                seed=self._plan.seed,
                arrivals=self._plan.arrivals,
                recorded_ns=self._recorded_ns,
            )
            for offsets in chunks:
                yield Window(
                    block=block,
                    first_index=index,
                    first_number=number,
                    first_ordinal=self._ordinals[position] + index,
                    offsets_ns=offsets,
                )
                index += len(offsets)
                number += len(offsets)


def _part(window: Window, start: int, stop: int) -> Window:
    return Window(
        block=window.block,
        first_index=window.first_index + start,
        first_number=window.first_number + start,
        first_ordinal=window.first_ordinal + start,
        offsets_ns=window.offsets_ns[start:stop],
    )


def schedule_of(plan: Plan) -> Schedule:
    """Return a plan's arrivals from their start, those of a recording for a replay."""
    if plan.arrivals != "replay" or plan.replay is None:
        return Schedule(plan)
    return Schedule(plan, recorded_offsets(Path(plan.replay)))


def recorded_offsets(source: Path) -> NDArray[np.int64]:
    """Return when each recorded arrival was due, in ns from the first, in order.

    ``source`` is a run directory, a requests.parquet or any Parquet file with a column
    ``intended_ns``.
    """
    import pyarrow as pa  # noqa: PLC0415 - reads Parquet, which only a replay needs
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    path = source / "requests.parquet" if source.is_dir() else source
    try:
        table = pq.read_table(path, columns=["intended_ns"])
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise PlanError(
            f"No arrivals can be read from {path} ({type(error).__name__}); name a run "
            f"directory or a Parquet file with a "
            "column intended_ns."
        ) from error
    if "intended_ns" not in table.column_names or not table.num_rows:
        raise PlanError(
            f"{path} holds no column intended_ns with rows; name a recorded run with at "
            f"least one request."
        )
    intended = np.sort(table.column("intended_ns").to_numpy())
    offsets: NDArray[np.int64] = (intended - intended[0]).astype(np.int64)
    return offsets
