"""What has an interrupted run left to do, and how do its two halves become one run?

The second half runs the pairs of blocks that the first did not finish, with the same draws, after
a warm-up of its own: services, caches and databases are new. What the first half had begun of an
unfinished pair is kept as recorded and never counted, like warm-up.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from worthit.contract.manifest import Arm, Generator, Manifest, Recorded, Segment
from worthit.contract.plan import Block
from worthit.contract.profiles import PROFILES, block_of
from worthit.errors import UsageError
from worthit.experiments.model import Experiment
from worthit.experiments.plan import CLOCK_TICK_S, SETTLE_S, Plan, make_plan

SET_ASIDE: Final = 1_000_000
"""Added to the number of a block that was begun and is run again, so that both can be kept."""

CUMULATIVE_SOURCES: Final = ("postgres", "redis")
"""Servers that begin to count anew in the second half."""

GAUGES: Final = ("connections", "keys", "used_memory_bytes")
"""Their values that are no counts, and must not be carried on."""

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """An interrupted run that can be carried on."""

    folder: Path
    manifest: Manifest
    """Its own, as it was written."""
    plan: Plan
    """What is left."""
    set_aside: frozenset[int]
    """Blocks that were begun and are run again."""


def unfinished(folder: Path) -> Unfinished:
    """Open an interrupted run and plan what it has left to do.

    Raises
    ------
    InputError
        There is no sound run directory.
    UsageError
        The run is complete, or was made by another kind of command.
    """
    from analysis.rundir.run import open_run  # noqa: PLC0415 - pandas, which --help never needs

    manifest = open_run(folder).written
    if manifest.complete:
        raise UsageError(f"{folder} is complete: there is nothing left to run.")
    if not manifest.experiment or not manifest.blocks:
        raise UsageError(f"{folder} holds no experiment's blocks, so nothing can be carried on.")
    plan = make_plan(_experiment(manifest.experiment, folder), manifest.experiment_file)
    planned = {block.block: block.duration_s for block in plan.blocks}
    begun = {row.block: (row.end_ns - row.start_ns) / 1e9 for row in manifest.blocks}
    whole = {number for number, s in begun.items() if s >= planned.get(number, 0.0) - CLOCK_TICK_S}
    done = {b.pair for b in plan.blocks} - {b.pair for b in plan.blocks if b.block not in whole}
    left = [block for block in plan.blocks if block.pair not in done and not block.warmup]
    if not left:
        raise UsageError(f"Every block of {folder} was run: there is nothing left to run.")
    again = {block.block for block in left} & set(begun)
    return Unfinished(
        folder=folder,
        manifest=manifest,
        plan=_plan_of(plan, left),
        set_aside=frozenset(again),
    )


def _experiment(content: dict[str, Any], folder: Path) -> Experiment:
    """Read the experiment as the manifest has it; `worthit record` writes what it was asked."""
    try:
        return Experiment.model_validate(content)
    except ValidationError:
        raise UsageError(
            f"{folder} holds no experiment that could be carried on; runs of 'worthit run' do, of "
            "this version: run the experiment again."
        ) from None


def _plan_of(plan: Plan, left: list[Block]) -> Plan:
    """Lay the blocks that are left out in time, each batch after a warm-up of its own."""
    batch_of = dict(zip((b.block for b in plan.blocks), plan.batch_of_block, strict=True))
    numbers = sorted({batch_of[block.block] for block in left})
    blocks: list[Block] = []
    batches: list[int] = []
    at_s, shift_s = 0.0, 0.0
    for index, number in enumerate(numbers):
        own = [block for block in left if batch_of[block.block] == number]
        warm = [b for b in plan.blocks if b.warmup and batch_of[b.block] == number]
        own = [*(replace(b, block=b.block + 2 * SET_ASIDE) for b in warm), *own]
        for block in own:
            earlier = blocks[-1] if blocks else None
            gap_s = _gap_s(plan, earlier, block, new_batch=index > 0 and block is own[0])
            at_s = shift_s + gap_s
            blocks.append(replace(block, start_s=at_s))
            shift_s = at_s + block.duration_s
            batches.append(index)
    return replace(
        plan,
        batches=tuple(plan.batches[number] for number in numbers),
        blocks=tuple(blocks),
        batch_of_block=tuple(batches),
    )


def _gap_s(plan: Plan, earlier: Block | None, block: Block, *, new_batch: bool) -> float:
    """Give the pause before a block: between batches, and between steps if the plan wants one."""
    if new_batch:
        return SETTLE_S
    if earlier is None or earlier.warmup or earlier.step == block.step:
        return 0.0
    return plan.experiment.load.pause_s


def merge_tables(earlier: Unfinished, folder: Path, arms: Iterable[Arm]) -> None:
    """Put the first half's rows before those of the second, which stand in `folder`.

    `arms` are the second half's: on a server of the user's own each half had databases of its
    own names, and the whole run goes by those of the second.
    """
    for name in ("spans", "requests"):
        first = pq.read_table(earlier.folder / f"{name}.parquet")
        _write(folder / f"{name}.parquet", _set_aside(first, earlier.set_aside))
    for name in ("events", "counters"):
        first = pq.read_table(earlier.folder / f"{name}.parquet")
        second = pq.read_table(folder / f"{name}.parquet")
        if name == "counters":
            first = renamed(first, _database_names(earlier, arms))
            second = carried_on(first, second)
        pq.write_table(pa.concat_tables([first, second]), folder / f"{name}.parquet")
    for file in (earlier.folder / PROFILES).glob("*"):
        if block_of(file.name) not in earlier.set_aside:
            (folder / PROFILES).mkdir(exist_ok=True)
            shutil.copyfile(file, folder / PROFILES / file.name)
    for log in (earlier.folder / "logs").iterdir():
        _prepend(log, folder / "logs" / log.name)


def _write(file: Path, first: pa.Table) -> None:
    second = pq.read_table(file)
    whole = pa.concat_tables([first.select(second.column_names), second])
    pq.write_table(whole, file, compression="zstd")


def _set_aside(table: pa.Table, blocks: frozenset[int]) -> pa.Table:
    """Renumber the rows of blocks that are run again."""
    place = table.schema.get_field_index("block")
    column = table.column("block")
    again = pc.is_in(column, value_set=pa.array(sorted(blocks), column.type))
    moved = pc.if_else(again, pc.add(column, pa.scalar(SET_ASIDE, column.type)), column)
    return table.set_column(place, table.schema.field(place), moved.cast(column.type))


def _database_names(earlier: Unfinished, arms: Iterable[Arm]) -> dict[str, str]:
    """Give the second half's name of each database of the first."""
    second = {arm.name: arm.database for arm in arms}
    pairs = ((arm.database, second.get(arm.name)) for arm in earlier.manifest.arms)
    return {old: new for old, new in pairs if old and new}


def renamed(counters: pa.Table, names: Mapping[str, str]) -> pa.Table:
    """Give the counters with each label `database` by its new name."""
    place = counters.schema.get_field_index("labels")
    known: dict[str, str] = {}
    for text in counters.column("labels").unique().to_pylist():
        labels = json.loads(text)
        if labels.get("database") in names:
            labels["database"] = names[labels["database"]]
        known[text] = json.dumps(labels, sort_keys=True)
    texts = [known[text] for text in counters.column("labels").to_pylist()]
    return counters.set_column(place, counters.schema.field(place), pa.array(texts, pa.string()))


def carried_on(first: pa.Table, second: pa.Table) -> pa.Table:
    """Let the servers' counts go on from where the first half ended.

    What was counted between the halves is left out: also of a statement or command that stands in
    the second half's first reading alone.
    """
    ends = {_key(row): row["value"] for row in first.to_pylist()}
    starts: dict[tuple[str, str, str], float] = {}
    readings: dict[tuple[str, str], int] = {}
    values = []
    for row in second.to_pylist():
        key = _key(row)
        starts.setdefault(key, row["value"])
        counts = row["source"] in CUMULATIVE_SOURCES and row["name"] not in GAUGES
        first_ns = readings.setdefault(key[:2], row["t_ns"])
        if first_ns == row["t_ns"]:
            ends.setdefault(key, 0.0)
        shift = ends[key] - starts[key] if counts and key in ends else 0.0
        values.append(row["value"] + shift)
    place = second.schema.get_field_index("value")
    return second.set_column(place, second.schema.field(place), pa.array(values, pa.float64()))


def _key(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["source"], row["name"], row["labels"]


def _prepend(first: Path, second: Path) -> None:
    if not second.exists():
        shutil.copyfile(first, second)
        return
    content = second.read_bytes()
    shutil.copyfile(first, second)
    with second.open("ab") as file:
        file.write(content)


def merge_manifest(earlier: Unfinished, second: Manifest) -> Manifest:
    """Give the manifest of the whole run."""
    first = earlier.manifest
    kept = tuple(
        replace(block, block=block.block + SET_ASIDE, warmup=True)
        if block.block in earlier.set_aside
        else block
        for block in first.blocks
    )
    one, two = asdict(first.recorded), asdict(second.recorded)
    return replace(
        second,
        started_ns=first.started_ns,
        segments=(*(first.segments or [_segment(first)]), _segment(second)),
        blocks=kept + second.blocks,
        recorded=Recorded(**{name: one[name] + two[name] for name in one}),
        generator=merge_generator(first.generator, second.generator),
        workers=first.workers + second.workers,
        memory=max(
            (half.memory for half in (first, second) if half.memory is not None),
            key=lambda memory: memory.peak_bytes,
            default=None,
        ),
    )


def _segment(half: Manifest) -> Segment:
    return Segment(
        run_id=half.run_id,
        started_ns=half.started_ns,
        ended_ns=half.ended_ns,
        git_commit=half.git_commit,
    )


def merge_generator(
    first: Iterable[Generator], second: Iterable[Generator]
) -> tuple[Generator, ...]:
    """Give each step's self-check over both halves: sums, and the worse of the rest."""
    merged = {row.step: row for row in first if row.arrivals_planned}
    for row in second:
        before = merged.get(row.step)
        if before is None or not row.arrivals_planned:
            merged.setdefault(row.step, row)
            continue
        merged[row.step] = replace(
            row if _achieved(row) < _achieved(before) else before,
            lag_p50_ms=_larger(before.lag_p50_ms, row.lag_p50_ms),
            lag_p99_ms=_larger(before.lag_p99_ms, row.lag_p99_ms),
            lag_max_ms=_larger(before.lag_max_ms, row.lag_max_ms),
            lag_apart_p99_ms=_larger(before.lag_apart_p99_ms, row.lag_apart_p99_ms),
            own_p99_ms=_larger(before.own_p99_ms, row.own_p99_ms),
            in_flight_max=_larger(before.in_flight_max, row.in_flight_max),
            arrivals_planned=before.arrivals_planned + row.arrivals_planned,
            arrivals_sent=before.arrivals_sent + row.arrivals_sent,
            dropped=before.dropped + row.dropped,
            in_flight_cap_hits=before.in_flight_cap_hits + row.in_flight_cap_hits,
        )
    return tuple(merged[step] for step in sorted(merged))


def _larger(one: Number | None, two: Number | None) -> Number | None:
    return max((value for value in (one, two) if value is not None), default=None)


def _achieved(row: Generator) -> float:
    return row.achieved_per_s / (row.offered_per_s or 1.0)
