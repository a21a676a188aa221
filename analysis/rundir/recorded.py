"""From the recorder's file to Parquet, in bounded memory: what is kept of a run's spans.

The recorder appends bytes as they come. Arm, step and block are known only from each trace's root,
which may come last, so the file is decoded once into a draft beside the result and the draft is
then completed batch by batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from analysis.errors import InputError
from analysis.formats.otlp import otlp_protobuf
from worthit.contract.tables import RESOURCE, SPANS, SPANS_WITH_RESOURCE

_FEW_VALUES = [
    "trace_id", "service", "name", "kind", "status", "arm",
    "db_system", "db_operation", "db_collection", "attributes", "links", RESOURCE,
]  # fmt: skip
"""Columns worth a dictionary in Parquet; span ids never repeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What came out of a recorder's file."""

    spans: int
    traces: int
    undecodable_bytes: int
    """Bytes that were no message: a tail cut off when the recorder was killed, or damage."""


def spans_writer(target: Path, schema: pa.Schema = SPANS) -> pq.ParquetWriter:
    """Open a run's ``spans.parquet`` to be written a table at a time."""
    return pq.ParquetWriter(target, schema, compression="zstd", use_dictionary=_FEW_VALUES)


def convert(source: str | PathLike[str], parquet_path: str | PathLike[str]) -> Converted:
    """Turn a recorder's file into ``spans.parquet``.

    Memory depends on the number of traces, not of spans.

    The result appears under its name only when it is whole. Raises ``InputError`` where the source
    cannot be read.
    """
    target = Path(parquet_path)
    draft, unfinished = (
        target.with_name(f".{target.name}.{end}") for end in ("draft", "unfinished")
    )
    try:
        carriers, converted = _draft(Path(source), draft)
        _complete(draft, unfinished, carriers)
        unfinished.replace(target)
    finally:
        draft.unlink(missing_ok=True)
        unfinished.unlink(missing_ok=True)
    return converted


def _draft(source: Path, draft: Path) -> tuple[pa.Table, Converted]:
    """Decode everything once.

    Give the rows that name an arm, step or block, earliest of each trace, and the counts.
    """
    lost: list[otlp_protobuf.Undecodable] = []
    carriers, seen, spans = [], [], 0
    try:
        file = source.open("rb")
    except OSError as error:
        raise InputError(
            f"The recorder's file {source} cannot be read: {error.strerror}."
        ) from error
    with (
        file,
        pq.ParquetWriter(
            draft, SPANS_WITH_RESOURCE, compression="lz4", use_dictionary=_FEW_VALUES
        ) as writer,
    ):
        for batch in otlp_protobuf.batches(file, lost, with_resource=True):
            writer.write_table(batch)
            spans += batch.num_rows
            seen.append(pc.unique(batch.column("trace_id")))
            named = pc.or_(
                pc.is_valid(batch.column("arm")),
                pc.or_(pc.is_valid(batch.column("step")), pc.is_valid(batch.column("block"))),
            )
            carriers.append(
                batch.filter(named).select(["trace_id", "start_ns", "arm", "step", "block"])
            )
    traces = len(pc.unique(pa.chunked_array(seen, pa.large_string()))) if seen else 0
    counts = Converted(
        spans=spans, traces=traces, undecodable_bytes=sum(part.length for part in lost)
    )
    return _earliest(carriers), counts


def _earliest(carriers: list[pa.Table]) -> pa.Table:
    """One row a trace: each column's first value in order of start."""
    if not carriers:
        return SPANS_WITH_RESOURCE.empty_table().select(["trace_id", "arm", "step", "block"])
    ordered = pa.concat_tables(carriers).sort_by("start_ns")
    firsts = pa.TableGroupBy(ordered, "trace_id", use_threads=False).aggregate(
        [(name, "first") for name in ("arm", "step", "block")]
    )
    return firsts.rename_columns(["trace_id", "arm", "step", "block"])


def _complete(draft: Path, target: Path, carriers: pa.Table) -> None:
    """Copy the draft, giving every span its trace's arm, step and block."""
    traces = carriers.column("trace_id").combine_chunks()
    with pq.ParquetFile(draft) as file, spans_writer(target, SPANS_WITH_RESOURCE) as writer:
        for batch in file.iter_batches(batch_size=1 << 18):
            table = pa.Table.from_batches([batch], SPANS_WITH_RESOURCE)
            if len(traces):
                rows = pc.index_in(table.column("trace_id"), value_set=traces)
                for name in ("arm", "step", "block"):
                    place = table.schema.get_field_index(name)
                    table = table.set_column(
                        place, SPANS_WITH_RESOURCE.field(place), carriers.column(name).take(rows)
                    )
            writer.write_table(table)
