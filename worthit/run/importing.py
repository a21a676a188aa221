"""Make a run of traces that somebody else recorded: what ``worthit import`` does.

Whatever ``analysis.traces.read`` understands becomes a run directory, with arms and blocks by what
the user says or the traces do. Nobody counted anything beside the tracer, and the verdict says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.formats.resource_attributes import kept
from analysis.rundir.placing import Placement, place
from analysis.rundir.recorded import spans_writer
from analysis.scale import connected
from analysis.scale import read as read_elsewhere
from analysis.traces import attribute, read
from worthit.contract.manifest import (
    FORMAT_VERSION,
    Imported,
    ImportedSource,
    Manifest,
    Part,
    Recorded,
    Verdict,
)
from worthit.contract.tables import REQUESTS, SPANS
from worthit.errors import UsageError, WorthitError
from worthit.run.artifacts import Events, judge, write_other_tables
from worthit.run.run_directory import RunDirectory

if TYPE_CHECKING:
    from distributed import Client

NS_PER_S: Final = 1e9

ONE_ARM: Final = "all"
"""The arm of traces without any, where their time is cut into blocks: a block is of an arm."""

QUESTION: Final = "Where does the time go, and what does it do to the database?"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmFiles:
    """Traces, and the arm that the user says they are of."""

    files: tuple[str, ...]
    arm: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What ``worthit import`` was asked for."""

    name: str
    sources: tuple[ArmFiles, ...]
    arm_from: str | None = None
    """A span's or resource's attribute that names its request's arm."""
    block_seconds: float | None = None
    """Cut each arm's time into blocks so long; None: one per arm, or as the traces name them."""
    baseline: str | None = None
    skip_damaged: bool = False
    partitions: int | None = None
    """Read each source in so many parts, kept on disk meanwhile; None: in memory at once."""
    dask: str | None = None
    """Address of a Dask scheduler whose workers read the files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedRun:
    """What came of it."""

    path: Path
    spans: int
    requests: int
    unknown_arm: int
    arms: tuple[str, ...]
    passed_over: tuple[str, ...]
    verdict: Verdict


@dataclass(slots=True)
class _Seen:
    """What must be known of all traces before the first one is written."""

    begins_ns: dict[str, int] = field(default_factory=dict)
    """When each arm's first request began; "" stands for none."""
    ends_ns: int = 0
    spans: int = 0
    requests: int = 0
    unknown_arm: int = 0
    named_blocks: bool = False
    traces: dict[str | None, set[str]] = field(default_factory=dict)
    """The traces of each arm that the user named, if there are several."""

    @property
    def has_no_arms(self) -> bool:
        """Whether no request names one."""
        return self.begins_ns.keys() <= {""}


def import_traces(options: ImportOptions, *, out: Path, say: Callable[[str], None]) -> ImportedRun:
    """Read the traces and leave a whole run directory in `out`, or nothing.

    Raises
    ------
    UsageError
        An option cannot mean what it says, such as a baseline that no request is of.
    WorthitError
        There is no span in what was named.
    """
    with ExitStack() as stack:
        if options.arm_from is not None:
            stack.enter_context(kept(options.arm_from))
        passed_over: list[str] = []
        client = None if options.dask is None else stack.enter_context(connected(options.dask))
        parts = [
            (source, _parts(source, options, passed_over, stack, client))
            for source in options.sources
        ]
        seen = _look_through(parts, options)
        if not seen.spans:
            left_out = " ".join(passed_over)
            raise WorthitError(f"No span was found, so there is nothing to import. {left_out}")
        directory = stack.enter_context(RunDirectory(out, options.name))
        say(f"writing the tables of {seen.spans} spans")
        _write_spans(directory, parts, options, seen)
        written = Manifest(format_version=FORMAT_VERSION, run_id=directory.run_id)
        found = place(directory.path, written, baseline=options.baseline)
        _check_arms(options, found)
        events = Events(time.time_ns)
        events.add("imported", spans=seen.spans, requests=seen.requests)
        write_other_tables(directory, requests=REQUESTS.empty_table(), counters=[], events=events)
        verdict = judge(directory, _manifest(directory, options, seen, found, passed_over))
        return ImportedRun(
            path=directory.finish(),
            spans=seen.spans,
            requests=seen.requests,
            unknown_arm=seen.unknown_arm,
            arms=tuple(arm.name for arm in found.arms),
            passed_over=tuple(passed_over),
            verdict=verdict,
        )


def _parts(
    source: ArmFiles,
    options: ImportOptions,
    passed_over: list[str],
    stack: ExitStack,
    client: Client | None,
) -> Iterable[pd.DataFrame]:
    """Read a source: spans in parts of whole traces, to be gone through as often as wanted."""
    skip = options.skip_damaged
    if client is not None:
        count = options.partitions
        parts = stack.enter_context(
            read_elsewhere(*source.files, client=client, skip_damaged=skip, partitions=count)
        )
        passed_over += parts.damaged
        return parts
    if options.partitions is not None:
        parts = stack.enter_context(
            read(*source.files, skip_damaged=skip, partitions=options.partitions)
        )
        passed_over += parts.damaged
        return parts
    spans = read(*source.files, skip_damaged=skip)
    for said in ("damaged", "passed_over"):
        passed_over += [str(sentence) for sentence in spans.attrs.get(said, ())]
    return [spans]


def _look_through(
    parts: Sequence[tuple[ArmFiles, Iterable[pd.DataFrame]]], options: ImportOptions
) -> _Seen:
    seen = _Seen()
    several = len({source.arm for source, _ in parts}) > 1
    for source, frames in parts:
        for frame in frames:
            if frame.empty:
                continue
            traces = _traces(frame, source, options)
            for arm, rows in traces.groupby(traces["arm"].fillna("")):
                begun = seen.begins_ns.get(str(arm))
                first = int(rows["start_ns"].min())
                seen.begins_ns[str(arm)] = first if begun is None else min(begun, first)
            seen.ends_ns = max(seen.ends_ns, int(traces["end_ns"].max()))
            seen.spans += len(frame)
            seen.requests += len(traces)
            seen.unknown_arm += int(traces["arm"].isna().sum())
            seen.named_blocks |= bool(frame["block"].notna().any())
            if several:
                seen.traces.setdefault(source.arm, set()).update(traces.index)
    if seen.has_no_arms:
        seen.unknown_arm = 0  # nothing names an arm: the run has none
    _check_apart(seen)
    return seen


def _check_apart(seen: _Seen) -> None:
    """Refuse traces that were given as those of two arms."""
    known: dict[str, str | None] = {}
    for arm, traces in seen.traces.items():
        twice = next((trace for trace in traces if trace in known), None)
        if twice is not None:
            raise UsageError(
                f"Trace {twice} is in the files of arm {known[twice]} and of arm {arm}; a request "
                "is of one arm: name each file for one of them."
            )
        known.update(dict.fromkeys(traces, arm))


def _traces(frame: pd.DataFrame, source: ArmFiles, options: ImportOptions) -> pd.DataFrame:
    """One row a trace, indexed by its id: arm, start_ns, end_ns."""
    ends = frame["start_ns"] + frame["duration_ns"].fillna(0)
    table = pd.DataFrame(
        {"trace_id": frame["trace_id"], "start_ns": frame["start_ns"], "end_ns": ends}
    )
    traces = table.groupby("trace_id", sort=False).agg({"start_ns": "min", "end_ns": "max"})
    named = _named_arms(frame, options)
    traces.insert(0, "arm", named.reindex(traces.index))
    if source.arm is not None:
        traces["arm"] = source.arm
    return traces


def _named_arms(frame: pd.DataFrame, options: ImportOptions) -> pd.Series:
    """Give the arm of each trace that names one.

    With ``arm_from`` it is the value on the trace's first SERVER span that has the attribute,
    because the load's own spans may have another version or environment than the service under
    test; else on the first span that has it. Without, it is what ``worthit.arm`` says.
    """
    if options.arm_from is None:
        value = frame["arm"]
    else:
        value = attribute(frame, options.arm_from).map(_as_name, na_action="ignore")
    rows = pd.DataFrame(
        {
            "trace_id": frame["trace_id"],
            "arm": value.astype("str"),
            "inner": frame["kind"] != "SERVER",
            "start_ns": frame["start_ns"],
        }
    ).dropna(subset=["arm"])
    ordered = rows.sort_values(["inner", "start_ns"], kind="stable")
    return ordered.drop_duplicates("trace_id").set_index("trace_id")["arm"]


def _as_name(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _write_spans(
    directory: RunDirectory,
    parts: Sequence[tuple[ArmFiles, Iterable[pd.DataFrame]]],
    options: ImportOptions,
    seen: _Seen,
) -> None:
    numbers = {arm: place for place, arm in enumerate(sorted(seen.begins_ns))}
    with spans_writer(directory.path / "spans.parquet") as writer:
        for source, frames in parts:
            for frame in frames:
                if not frame.empty:
                    traces = _traces(frame, source, options)
                    placed = _placed(frame, traces, options, seen, numbers)
                    writer.write_table(_table(placed))


def _placed(
    frame: pd.DataFrame,
    traces: pd.DataFrame,
    options: ImportOptions,
    seen: _Seen,
    numbers: dict[str, int],
) -> pd.DataFrame:
    """Give every span its request's arm, step and block.

    Blocks that the traces name stay. Else the k-th block of arm number a, of n arms, is k n + a.
    """
    row, _ = pd.factorize(frame["trace_id"])  # of `traces`, which are in order of appearance
    placed = frame.assign(arm=traces["arm"].array.take(row, allow_fill=True))
    if seen.named_blocks and options.block_seconds is None:
        return placed.assign(step=placed["step"].fillna(0).where(placed["block"].notna()))
    if seen.has_no_arms and options.block_seconds is None:
        return placed  # one run without arms is no block: its requests came in one stretch
    arm = traces["arm"].fillna("")
    since = (traces["start_ns"] - arm.map(seen.begins_ns)).to_numpy(np.float64) / NS_PER_S
    length = options.block_seconds
    nth = np.zeros(len(traces)) if length is None else np.floor(since / length)
    block = (nth * len(numbers) + arm.map(numbers).to_numpy()).astype(np.int64)
    known = (arm != "").to_numpy() | seen.has_no_arms
    if seen.has_no_arms:
        placed = placed.assign(arm=ONE_ARM)
    numbered = pd.array(block, dtype="Int32")
    numbered[~known] = pd.NA
    step = pd.array(np.zeros(len(traces), np.int64), dtype="Int32")
    step[~known] = pd.NA
    return placed.assign(block=numbered.take(row), step=step.take(row))


def _table(frame: pd.DataFrame) -> pa.Table:
    arrays = [
        pa.array(frame[column.name], column.type, from_pandas=True)
        if column.name in frame.columns
        else pa.nulls(len(frame), column.type)
        for column in SPANS
    ]
    return pa.Table.from_arrays([_whole(array) for array in arrays], schema=SPANS)


def _whole(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _check_arms(options: ImportOptions, found: Placement) -> None:
    names = [arm.name for arm in found.arms]
    if options.arm_from is not None and not names:
        raise UsageError(
            f"No request has the attribute {options.arm_from}, so no arm is known; name an "
            "attribute that a span or its resource has, or give --arm NAME=FILES."
        )
    if options.baseline is not None and options.baseline not in names:
        known = ", ".join(names) or "none"
        raise UsageError(
            f"--baseline {options.baseline} is no arm of these traces; their arms are: {known}."
        )


def _manifest(
    directory: RunDirectory,
    options: ImportOptions,
    seen: _Seen,
    found: Placement,
    passed_over: Iterable[str],
) -> Manifest:
    """All but the verdict. Machine and versions stay empty: nobody knows where it was recorded."""
    return Manifest(
        format_version=FORMAT_VERSION,
        run_id=directory.run_id,
        name=options.name,
        question=QUESTION,
        started_ns=min(seen.begins_ns.values()),
        ended_ns=seen.ends_ns,
        arms=found.arms,
        steps=found.steps,
        blocks=found.blocks,
        parts={"service": Part()},
        recorded=Recorded(spans=seen.spans),
        imported=Imported(
            sources=tuple(_sources(options.sources)),
            requests=seen.requests,
            arm_from=options.arm_from,
            unknown_arm=seen.unknown_arm,
            block_seconds=options.block_seconds,
            passed_over=tuple(passed_over),
        ),
    )


def _sources(sources: Iterable[ArmFiles]) -> Iterator[ImportedSource]:
    for source in sources:
        for name in source.files:
            yield ImportedSource(name=name, arm=source.arm)
