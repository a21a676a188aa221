"""To which arm, level and block does each request of a recording belong, and who says so?

Five parties may say it, and the first that does is believed: the request's row in
``requests.parquet`` by trace id (the load knows what it sent, whatever the service does with
baggage); ``worthit.*`` attributes on the request's own spans; a resource attribute that the user
named; the marked block in which the request began and ended; the recording's own arm. A span
belongs where its trace does.

A request that was under way at a mark, or that began while the arm settled after one, may be of
either arm: it is set aside and counted.

Worked example: 180 requests of a load with our plugin and 22 of a start-up script reach a service
that exports nothing of ours. 180 are placed by their row, 22 by nobody.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from analysis.checks.counts.cross_checks import SERVED_KINDS
from analysis.checks.counts.cross_checks import roots as begun
from analysis.formats.attributes import words_in
from analysis.rundir.manifest import Arm, Block, Manifest, Placed, Step
from worthit.contract.marks import MARK, Window, mark_from, windows
from worthit.contract.tables import REQUESTS, RESOURCE

BASELINES = ("off", "baseline", "control", "before")
"""Names by which an arm says that the others are held against it; else the first by name is."""

WAYS = BY_REQUEST, BY_ATTRIBUTE, BY_RESOURCE, BY_MARKS, BY_RECORDING = (
    "requests", "spans", "resource", "marks", "recording",
)  # fmt: skip
"""Who placed a request, in the order in which they are believed; fields of ``Placed``."""

SET_ASIDE = "set_aside"
"""The way of a request at the edge of a marked block; a field of ``Placed`` too."""

SHORTEST_BLOCK_NS = 1
"""A block of one request without duration still has a rate."""

NS_PER_S = 10**9

NEVER_NS = np.iinfo(np.int64).max
"""The end of a marked block after which no mark came."""

FEWEST_PER_STRETCH = 10
"""Requests of one arm in a row that make a block of their own where nobody names blocks. When the
arms take turns more often than that, they served side by side and each is one block."""

_PLACE = ["arm", "step", "block"]
_COLUMNS = [
    "trace_id", "span_id", "parent_span_id", "kind", *_PLACE, "start_ns", "duration_ns",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where every trace belongs."""

    traces: pd.DataFrame
    """Columns arm, step and block by trace id; a trace that nobody places is missing."""
    arms: tuple[Arm, ...]
    steps: tuple[Step, ...]
    blocks: tuple[Block, ...]
    placed: Placed
    """How many requests were placed by whom."""

    def told(self, manifest: Manifest) -> Manifest:
        """The manifest with what was found; blocks that it has already are kept."""
        if manifest.blocks:
            return replace(manifest, placed=self.placed)
        return replace(
            manifest, arms=self.arms, steps=self.steps, blocks=self.blocks, placed=self.placed
        )

    def follow(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table with trace ids, each row's arm, step and block those of its trace."""
        found = self.traces.reindex(table["trace_id"].astype("object"))
        return table.assign(
            **{name: found[name].array.astype(table[name].dtype) for name in _PLACE}
        )


def is_recording(manifest: Manifest) -> bool:
    """Whether the run was recorded by ``worthit record``: of somebody's service and load."""
    return not manifest.scenario and "command" in manifest.experiment


def place(folder: Path, manifest: Manifest, *, baseline: str | None = None) -> Placement:
    """Ask the five parties, by the manifest's wishes, about the tables in a folder.

    ``baseline`` names the arm that the others are held against; without it the usual names do.
    """
    spans = _spans(folder / "spans.parquet", manifest.arm_from)
    file = folder / "requests.parquet"
    requests = pd.read_parquet(file) if file.exists() else REQUESTS.empty_table().to_pandas()
    traces = _places(spans, requests, _marks(folder / "events.parquet"), manifest)
    tops = begun(spans)
    tops = tops.drop(columns=_PLACE).join(traces, on="trace_id")
    if tops["block"].isna().all():
        tops = _in_stretches(tops)
        blocks = tops.drop_duplicates("trace_id").set_index("trace_id")
        traces["block"] = blocks["block"].reindex(traces.index).astype("Int32")
    traces["step"] = traces["step"].mask(traces["step"].isna() & traces["block"].notna(), 0)
    tops["step"] = tops["step"].mask(tops["step"].isna() & tops["block"].notna(), 0)
    blocks = _blocks(tops, _sent(requests, traces))
    return Placement(
        traces=traces[_PLACE],
        arms=arms_named([*tops["arm"].dropna().unique(), *blocks["arm"].unique()], baseline),
        steps=_steps(blocks),
        blocks=tuple(
            Block(**{str(key): value for key, value in row.items()})
            for row in blocks.to_dict("records")
        ),
        placed=_counted(tops),
    )


def write(spans: Path, placement: Placement) -> None:
    """Write each span's arm, step and block into ``spans.parquet``, batch by batch."""
    unfinished = spans.with_name(f".{spans.name}.placed")
    traces = pa.array(placement.traces.index, pa.large_string())
    columns = {name: pa.array(placement.traces[name], from_pandas=True) for name in _PLACE}
    try:
        with pq.ParquetFile(spans) as file, pq.ParquetWriter(
            unfinished, file.schema_arrow, compression="zstd"
        ) as writer:  # fmt: skip
            for batch in file.iter_batches(batch_size=1 << 18):
                table = pa.Table.from_batches([batch])
                rows = pc.index_in(table.column("trace_id").cast(pa.large_string()), traces)
                for name, values in columns.items():
                    place_of = table.schema.get_field_index(name)
                    field = table.schema.field(place_of)
                    table = table.set_column(place_of, field, values.take(rows).cast(field.type))
                writer.write_table(table)
        unfinished.replace(spans)
    finally:
        unfinished.unlink(missing_ok=True)


def _spans(file: Path, arm_from: str | None) -> pd.DataFrame:
    """The columns that decide, and ``named``: the value of the user's resource attribute."""
    wanted = bool(arm_from) and RESOURCE in pq.read_schema(file).names
    table = pq.read_table(file, columns=[*_COLUMNS, *([RESOURCE] if wanted else [])])
    spans: pd.DataFrame = table.select(_COLUMNS).to_pandas()
    spans = spans.astype({"arm": "object", "step": "Int32", "block": "Int32"})
    spans["named"] = None
    if wanted and arm_from:
        texts = table.column(RESOURCE).combine_chunks().cast(pa.large_string())
        if isinstance(texts, pa.ChunkedArray):
            texts = texts.chunk(0) if texts.num_chunks else pa.array([], pa.large_string())
        spans["named"] = words_in(texts, arm_from).to_pandas().astype("object").to_numpy()
    return spans


def _marks(events: Path) -> tuple[Window, ...]:
    """Give the marked blocks of a recording."""
    if not events.exists():
        return ()
    rows = pq.read_table(events, filters=[("kind", "=", MARK)]).to_pylist()
    return windows(mark_from(json.loads(row["detail"]), row["t_ns"]) for row in rows)


def _places(
    spans: pd.DataFrame, requests: pd.DataFrame, marked: tuple[Window, ...], manifest: Manifest
) -> pd.DataFrame:
    """Arm, step, block and ``way`` of every trace that somebody places or that is set aside."""
    known = pd.Index(spans["trace_id"].dropna().unique(), name="trace_id")
    found = pd.DataFrame(index=known, columns=[*_PLACE, "way"], dtype="object")
    sent = requests.dropna(subset=["trace_id"]).drop_duplicates("trace_id")
    _take(found, sent.set_index("trace_id")[_PLACE].astype("object"), BY_REQUEST)
    own = spans
    if manifest.arm is not None:  # what the recording said is on the spans already
        own = spans[spans["arm"] != manifest.arm]
    _take(found, _earliest(own, _PLACE), BY_ATTRIBUTE)
    named = _earliest(spans, ["named"]).rename(columns={"named": "arm"})
    _take(found, named, BY_RESOURCE)
    if marked:
        in_marks = _in_windows(spans, marked, round(manifest.settle_s * NS_PER_S))
        edge = in_marks.index[in_marks[SET_ASIDE]]
        _take(found, in_marks.drop(index=edge)[["arm", "block"]].astype("object"), BY_MARKS)
        found.loc[edge[found.loc[edge, "way"].isna()], "way"] = SET_ASIDE
    if manifest.arm is not None:
        # a block of the recording's own is for its requests: with the load's blocks known, what
        # is left (health checks, a warm-up) is in none of them
        block = manifest.block if found["block"].isna().all() else None
        whole = pd.DataFrame({"arm": manifest.arm, "block": block}, index=known, dtype="object")
        _take(found, whole, BY_RECORDING)
    found = found[found["way"].notna() | found["block"].notna()]
    placed: pd.DataFrame = found.astype({"step": "Int32", "block": "Int32"})
    return placed


def _in_windows(spans: pd.DataFrame, marked: tuple[Window, ...], settle_ns: int) -> pd.DataFrame:
    """By trace: the arm and block that it began in, and whether it is at that block's edge.

    A trace begins where its request does, and is over when that was answered.
    """
    tops = begun(spans)
    tops = pd.concat([tops, spans[~spans["trace_id"].isin(tops["trace_id"])]])  # of lost parents
    ends = tops["start_ns"] + tops["duration_ns"].fillna(0)
    traces = (
        tops.assign(end_ns=ends.astype("int64"))
        .groupby("trace_id")
        .agg(start_ns=("start_ns", "min"), end_ns=("end_ns", "max"))
    )
    begins = np.array([window.start_ns for window in marked], np.int64)
    over = np.array(
        [NEVER_NS if window.end_ns is None else window.end_ns for window in marked], np.int64
    )
    starts = traces["start_ns"].to_numpy(np.int64)
    at = np.searchsorted(begins, starts, side="right") - 1
    inside = (at >= 0) & (starts < over[at])
    at = np.where(inside, at, 0)
    settling = starts < begins[at] + settle_ns
    placed = pd.DataFrame(
        {
            "arm": np.array([window.arm for window in marked], object)[at],
            "block": np.array([window.block for window in marked])[at],
            SET_ASIDE: settling | (traces["end_ns"].to_numpy(np.int64) > over[at]),
        },
        index=traces.index,
    )
    return placed[inside]


def _take(found: pd.DataFrame, said: pd.DataFrame, way: str) -> None:
    """Fill in what this party says of traces of which nobody has said anything yet."""
    said = said[said["arm"].notna()]
    rows = found.index.intersection(said.index)
    rows = rows[found.loc[rows, "way"].isna()]
    for name in said.columns:
        found.loc[rows, name] = said.loc[rows, name]
    found.loc[rows, "way"] = way


def _earliest(spans: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """By trace, each column's first value in order of start."""
    carriers = spans.dropna(subset=columns[:1]).sort_values("start_ns", kind="stable")
    firsts: pd.DataFrame = carriers.groupby("trace_id")[columns].first().astype("object")
    return firsts


def _in_stretches(tops: pd.DataFrame) -> pd.DataFrame:
    """Blocks of arms that nobody cut into blocks: each arm's requests in a row are one.

    A stretch of few requests (a health check, a first request by hand) is no block.
    """
    ordered = tops.sort_values("start_ns", kind="stable")
    named = ordered[ordered["arm"].notna()]
    served = named[named["kind"].isin(SERVED_KINDS)]
    counted = named if served.empty else served
    if counted.empty:
        return ordered
    stretch = (counted["arm"] != counted["arm"].shift()).cumsum()
    long = counted.groupby(stretch)["arm"].transform("size") >= FEWEST_PER_STRETCH
    if long.sum() * 2 < len(counted):
        number = pd.Series(pd.factorize(named["arm"])[0], index=named.index)
        return ordered.assign(block=number.reindex(ordered.index).astype("Int32"))
    kept = counted[long]
    number = (kept["arm"] != kept["arm"].shift()).cumsum() - 1
    begins = kept.groupby(number)["start_ns"].min().to_numpy()
    ends = kept.groupby(number)["start_ns"].max().to_numpy()
    arms = kept.groupby(number)["arm"].first().to_numpy()
    # a job in the background is in the block that it began in
    at = np.searchsorted(begins, named["start_ns"].to_numpy(), side="right") - 1
    inside = (at >= 0) & (named["start_ns"].to_numpy() <= ends[at]) & (arms[at] == named["arm"])
    blocks = pd.Series(at, index=named.index).where(inside)
    return ordered.assign(block=blocks.reindex(ordered.index).astype("Int32"))


def _sent(requests: pd.DataFrame, traces: pd.DataFrame) -> pd.DataFrame:
    """When the load sent its requests: a block lasts as long as they do."""
    rows = requests.drop(columns=_PLACE).join(traces[_PLACE], on="trace_id", how="inner")
    return pd.DataFrame(
        {
            **{name: rows[name] for name in _PLACE},
            "start_ns": rows["sent_ns"],
            "end_ns": rows["end_ns"].fillna(rows["sent_ns"]),
        }
    )


def _blocks(tops: pd.DataFrame, sent: pd.DataFrame) -> pd.DataFrame:
    """One row per block, from its first request's start to its last one's end.

    The first block of an arm at a step stands against the first of each other arm there, and so
    on: that is what `pair` says.
    """
    ends = tops["start_ns"] + tops["duration_ns"].fillna(0)
    columns = [*_PLACE, "start_ns", "end_ns"]
    served = tops.assign(end_ns=ends)[[*columns, "trace_id"]]
    whole = pd.concat([served, sent[columns]], ignore_index=True).dropna(subset=_PLACE)
    blocks = (
        whole.astype({"start_ns": "int64", "end_ns": "int64", "arm": "object"})
        .groupby(["block", "arm", "step"], as_index=False)
        .agg(start_ns=("start_ns", "min"), end_ns=("end_ns", "max"), n=("trace_id", "nunique"))
        .sort_values("start_ns", ignore_index=True)
    )
    seconds = (blocks["end_ns"] - blocks["start_ns"]).clip(lower=SHORTEST_BLOCK_NS) / 1e9
    rates = blocks["n"] / seconds  # of one level in all arms: it is by level that they compare
    order = blocks.groupby(["arm", "step"]).cumcount()
    blocks = blocks.assign(
        rate_per_s=rates.groupby(blocks["step"]).transform("mean"),
        pair=blocks["step"].astype("int64") * len(blocks) + order,
        warmup=False,
    ).drop(columns="n")
    return blocks.astype({"block": "int64", "step": "int64"})


def arms_named(names: list[str], named: str | None) -> tuple[Arm, ...]:
    """Give each arm once; the baseline is the one named, else of a usual name, else the first."""
    ordered = sorted(set(map(str, names)))
    usual = next((name for name in BASELINES if name in ordered), ordered[0] if ordered else None)
    baseline = named if named in ordered else usual
    return tuple(Arm(name=name, baseline=name == baseline) for name in ordered)


def _steps(blocks: pd.DataFrame) -> tuple[Step, ...]:
    rates = blocks.groupby("step")["rate_per_s"].mean()
    return tuple(Step(step=int(str(step)), rate_per_s=float(rate)) for step, rate in rates.items())


def _counted(tops: pd.DataFrame) -> Placed:
    """How many requests each party placed; a request is a trace that begins one."""
    ways = tops.drop_duplicates("trace_id")["way"]
    counts = ways.value_counts()
    return Placed(
        **{way: int(counts.get(way, 0)) for way in (*WAYS, SET_ASIDE)},
        nobody=int(ways.isna().sum()),
    )
