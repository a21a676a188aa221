"""Several recordings of one campaign become one run: each is a block, or holds blocks.

A service that must be restarted to change its arm is recorded again and again
(``worthit record --campaign NAME --arm off``). The run made of the recordings is a run directory
like any other: what they recorded one after the other, with blocks numbered anew in order of time,
and the servers' counts going on from where the recording before ended.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

from worthit.contract.manifest import Arm, Block, Manifest, Placed, Recorded, Step
from worthit.errors import UsageError
from worthit.run.artifacts import judge
from worthit.run.resume import carried_on, merge_generator
from worthit.run.run_directory import RunDirectory

if TYPE_CHECKING:
    from analysis.rundir.run import Run

_PLACE: Final = ("arm", "step", "block")


def recordings_of(campaign: str, folder: Path) -> list[Path]:
    """Find the recordings of a campaign in a folder of runs.

    Raises
    ------
    UsageError
        There is none.
    """
    found = [
        file.parent
        for file in sorted(folder.glob("[!.]*/manifest.json"))
        if json.loads(file.read_bytes()).get("campaign") == campaign
        and not json.loads(file.read_bytes()).get("recordings")
    ]
    if not found:
        raise UsageError(
            f"No recording of campaign {campaign} was found in {folder}/; make some with"
            f" worthit record --campaign {campaign} --arm ARM."
        )
    return found


def combined(recordings: Sequence[Path]) -> Path:
    """Make one run of recordings, beside the first, and give its path.

    A run that was made of the same recordings is given as it is.

    Raises
    ------
    UsageError
        A recording names no arm, or was made on another machine than the others.
    """
    from analysis.rundir.run import open_run  # noqa: PLC0415 - pandas, which --help never needs

    runs = sorted((open_run(path) for path in recordings), key=lambda run: run.manifest.started_ns)
    ids = tuple(run.manifest.run_id for run in runs)
    _check(runs)
    out = recordings[0].resolve().parent
    known = [
        file.parent
        for file in out.glob("[!.]*/manifest.json")
        if tuple(json.loads(file.read_bytes()).get("recordings", ())) == ids
    ]
    if known:
        return known[0]
    with RunDirectory(
        out, runs[0].manifest.campaign or f"{runs[0].manifest.name}-campaign"
    ) as new:
        offsets = _offsets(runs)
        for name in ("spans", "requests"):
            _write_placed(new.path / f"{name}.parquet", name, runs, offsets)
        _write_events(new.path / "events.parquet", runs)
        _write_counters(new.path / "counters.parquet", runs)
        judge(new, _manifest(runs, ids, new.run_id, offsets))
        return new.finish()


def _check(runs: Sequence[Run]) -> None:
    """Refuse what cannot be one campaign."""
    for run in runs:
        if not run.manifest.blocks:
            raise UsageError(
                f"{run.path} names no arm, so it is no block of a campaign; record it with --arm"
                " ARM, or open it alone."
            )
        if run.manifest.recordings:
            raise UsageError(f"{run.path} is made of recordings itself; name those instead.")
        one, other = runs[0].manifest.machine, run.manifest.machine
        if (one.cpus, one.cpu_model) != (other.cpus, other.cpu_model):
            raise UsageError(
                f"{runs[0].path} and {run.path} were recorded on different machines, so they are"
                " no blocks of one campaign; worthit compare A B --anyway compares two."
            )
    if len({run.manifest.run_id for run in runs}) < len(runs):
        raise UsageError("A recording was named twice; name each once.")


def _offsets(runs: Sequence[Run]) -> list[int]:
    """Give what is added to each recording's block numbers, so that none repeats."""
    offsets, at = [], 0
    for run in runs:
        numbers = [block.block for block in run.manifest.blocks]
        offsets.append(at - min(numbers))
        at += max(numbers) - min(numbers) + 1
    return offsets


def _write_placed(file: Path, name: str, runs: Sequence[Run], offsets: Sequence[int]) -> None:
    """Write the rows of all, each with its arm, level and new block."""
    from analysis.rundir.run import numbered_table  # noqa: PLC0415 - as above

    tables = []
    for run, offset in zip(runs, offsets, strict=True):
        table = pq.read_table(run.path / f"{name}.parquet")
        rows = numbered_table(run, name)
        for column in _PLACE:
            place = table.schema.get_field_index(column)
            values = rows[column] + offset if column == "block" else rows[column]
            field = table.schema.field(place)
            table = table.set_column(
                place, field, pa.array(values, from_pandas=True).cast(field.type)
            )
        tables.append(table)
    whole = pa.concat_tables(tables, promote_options="permissive")
    pq.write_table(whole, file, compression="zstd")


def _write_events(file: Path, runs: Sequence[Run]) -> None:
    tables = [pq.read_table(run.path / "events.parquet") for run in runs]
    pq.write_table(pa.concat_tables(tables), file)


def _write_counters(file: Path, runs: Sequence[Run]) -> None:
    whole = pq.read_table(runs[0].path / "counters.parquet")
    for run in runs[1:]:
        second = pq.read_table(run.path / "counters.parquet")
        whole = pa.concat_tables([whole, carried_on(whole, second)])
    pq.write_table(whole, file)


def _manifest(
    runs: Sequence[Run], ids: tuple[str, ...], run_id: str, offsets: Sequence[int]
) -> Manifest:
    """Give the manifest of them all, but for the verdict."""
    manifests = [run.manifest for run in runs]
    first = manifests[0]
    blocks = _blocks(manifests, offsets)
    rates = {step: [b.rate_per_s for b in blocks if b.step == step] for step in _steps(blocks)}
    recorded = [asdict(one.recorded) for one in manifests]
    placed = [asdict(one.placed or Placed()) for one in manifests]
    generator = first.generator
    for one in manifests[1:]:
        generator = merge_generator(generator, one.generator)
    return replace(
        first,
        run_id=run_id,
        name=first.campaign or first.name,
        complete=all(one.complete for one in manifests),
        ended_ns=manifests[-1].ended_ns,
        arms=_arms(manifests),
        steps=tuple(
            Step(step=step, rate_per_s=sum(own) / len(own)) for step, own in sorted(rates.items())
        ),
        blocks=blocks,
        recorded=Recorded(**{key: sum(one[key] for one in recorded) for key in recorded[0]}),
        placed=Placed(**{key: sum(one[key] for one in placed) for key in placed[0]}),
        generator=generator,
        workers=tuple(worker for one in manifests for worker in one.workers),
        arm=None,
        block=None,
        recordings=ids,
    )


def _steps(blocks: Sequence[Block]) -> set[int]:
    return {block.step for block in blocks}


def _blocks(manifests: Sequence[Manifest], offsets: Sequence[int]) -> tuple[Block, ...]:
    """Give the blocks in order of time; the k-th of an arm stands against the k-th of another."""
    moved = [
        replace(block, block=block.block + offset)
        for manifest, offset in zip(manifests, offsets, strict=True)
        for block in manifest.blocks
    ]
    seen: dict[tuple[str, int], int] = {}
    found = []
    for block in sorted(moved, key=lambda block: block.start_ns):
        order = seen.get((block.arm, block.step), 0)
        seen[block.arm, block.step] = order + 1
        found.append(replace(block, pair=block.step * len(moved) + order))
    mean = {
        step: [block.rate_per_s for block in found if block.step == step] for step in _steps(found)
    }
    return tuple(
        replace(block, rate_per_s=sum(mean[block.step]) / len(mean[block.step])) for block in found
    )


def _arms(manifests: Sequence[Manifest]) -> tuple[Arm, ...]:
    """Give every arm once; the usual names say which is the baseline, else the first by name."""
    from analysis.rundir.placing import arms_named  # noqa: PLC0415 - as above

    return arms_named([arm.name for one in manifests for arm in one.arms], None)
