"""Traces that do not fit into memory: dealt out by trace id, so that each part is whole traces.

Nothing about one trace depends on another. ``Partitions`` streams its sources once, a batch at a
time, into one file a part; each part is then a spans table like any other, and what is added up
over parts (``shares.sums``) is what it would be over all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import feather

from analysis.calltree.id_repair import low_halves, repaired
from analysis.calltree.identity import trace_codes, trace_hashes
from analysis.errors import AnalysisError
from analysis.formats.columns import to_pandas
from worthit.contract.tables import SPANS

_RUN_COLUMNS = ("arm", "step", "block")
"""What the spans of one trace have in common."""

_TOP_BITS = np.uint64(40)
"""Parts are told by high bits of the hash: the low ones find places in tables."""


class Partitions:
    """A spans table in parts, each with whole traces; iterate to get them one after the other.

    The parts are files in ``folder`` (a temporary one by default); they go when ``close`` is
    called, the ``with`` block ends, or the object is no longer used.
    """

    def __init__(self, count: int, folder: Path | None = None) -> None:
        if count < 1:
            raise AnalysisError(f"Partitions are counted from 1; {count} were asked for.")
        self._temporary = tempfile.TemporaryDirectory(prefix="worthit-", dir=folder)
        self.damaged: list[str] = []
        """What could not be read and was left out, as sentences."""
        self.passed_over: list[str] = []
        """What lies beside the traces and is none, as sentences."""
        self.remarks: list[str] = []
        """What was taken for granted, such as units of time, as sentences."""
        self.files = [Path(self._temporary.name) / f"{part:04}.arrow" for part in range(count)]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[pd.DataFrame]:
        for file in self.files:
            yield load(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the parts from disk."""
        self._temporary.cleanup()

    def fill(self, batches: Iterator[pa.Table]) -> None:
        """Deal batches of rows out to the parts; call it once."""
        writers: dict[int, pa.RecordBatchFileWriter] = {}
        schema = SPANS
        try:
            for batch in batches:
                schema = batch.schema
                for part, rows in enumerate(_dealt(batch, len(self.files))):
                    if rows.num_rows == 0:
                        continue
                    if part not in writers:
                        writers[part] = self._writer(part, schema)
                    writers[part].write_table(rows)
            for part in set(range(len(self.files))) - writers.keys():
                writers[part] = self._writer(part, schema)  # no trace, and a file that says so
        finally:
            for writer in writers.values():
                writer.close()

    def _writer(self, part: int, schema: pa.Schema) -> pa.RecordBatchFileWriter:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        return pa.ipc.new_file(self.files[part], schema, options=options)


def load(file: Path) -> pd.DataFrame:
    """Read one part: a spans table with whole traces. A part that got no trace has no rows.

    Raises ``AnalysisError`` where the part's file is not there: it would be taken for no traces.
    """
    try:
        table = feather.read_table(file, memory_map=True)
    except FileNotFoundError as error:
        raise AnalysisError(
            f"The part {file} is not there: its partitions were closed, or this machine does not "
            "see their folder. Ask before the with block ends, and give read() a folder that "
            "every worker sees."
        ) from error
    return spread(repaired(to_pandas(table)))


def spread(spans: pd.DataFrame) -> pd.DataFrame:
    """Give every span its trace's arm, step and block: what the earliest to name one says."""
    partly = [
        name for name in _RUN_COLUMNS
        if name in spans.columns and spans[name].isna().any() and spans[name].notna().any()
    ]  # fmt: skip
    if not partly:
        return spans
    codes, count = trace_codes(spans["trace_id"])
    start = spans["start_ns"].to_numpy()
    for name in partly:
        carriers = np.flatnonzero(spans[name].notna().to_numpy())
        carriers = carriers[np.argsort(-start[carriers], kind="stable")]
        carrier = np.full(count, -1, np.int64)
        carrier[codes[carriers]] = carriers  # the earliest is written last
        values = spans[name].array.take(carrier[codes], allow_fill=True)
        spans = spans.assign(**{name: values})
    return spans


def _dealt(batch: pa.Table, count: int) -> list[pa.Table]:
    """Split rows by their trace's part."""
    hashes = trace_hashes(low_halves(batch.column("trace_id")))
    part = ((hashes >> _TOP_BITS) % np.uint64(count)).astype(np.int64)
    order = np.argsort(part, kind="stable")
    ends = np.cumsum(np.bincount(part, minlength=count))
    ordered = batch.take(pa.array(order))
    return [
        ordered.slice(begin, end - begin)
        for begin, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)
    ]
