"""What does a run directory hold? Opens one, checks it, reads its tables when first asked for.

``open_run(path)`` is the only door: it refuses what is missing, damaged or of another format
version in one sentence, before any table is read, so that no question ever starts on half a run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from analysis.errors import ColumnError, InputError
from analysis.formats.columns import with_numbers
from analysis.rundir import column_projection
from analysis.rundir.manifest import FORMAT_VERSION, Manifest, parse
from analysis.rundir.placing import Placement, is_recording, place
from analysis.rundir.profiles import Sampled, read_profiles
from analysis.rundir.renumbering import follow, is_needed, renumbered
from worthit.contract.tables import NEVER_NULL, OPTIONAL_COLUMNS, TABLES

_PANDAS_TYPES = {
    pa.large_string(): "str",
    pa.string(): "str",
    pa.int64(): "Int64",
    pa.int32(): "Int32",
    pa.bool_(): "boolean",
    pa.float64(): "float64",
}

TABLE_COLUMNS: Mapping[str, Mapping[str, str]] = {
    table: {
        field.name: "int64" if field.name in NEVER_NULL else _PANDAS_TYPES[field.type]
        for field in schema
        if field.name not in OPTIONAL_COLUMNS
    }
    for table, schema in TABLES.items()
}
"""Columns and pandas types of each table. A capital Int means that a value may be missing."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One opened run directory. Tables are read when first asked for and kept."""

    path: Path
    """The run directory."""
    manifest: Manifest
    """``manifest.json``, checked; every block with a number of its own."""
    written: Manifest
    """The same before its blocks were renumbered."""
    placement: Placement | None = None
    """Where the traces of a recording belong, if that is not on its spans already."""

    @cached_property
    def spans(self) -> pd.DataFrame:
        """All spans, warm-up included; columns as ``TABLE_COLUMNS['spans']``."""
        return self._numbered(self.placed(read_table(self.path, "spans")))

    @cached_property
    def requests(self) -> pd.DataFrame:
        """All arrivals, warm-up included; columns as ``TABLE_COLUMNS['requests']``.

        Events of clients that are not HTTP clients (column ``request_type``) count where there is
        no HTTP request: among requests, a custom metric would be taken for a response time.

        Of a recording no ``draw`` is kept: it numbers the arrivals of a load that was not ours,
        and two requests of one number had nothing else in common.
        """
        table = _http_if_any(self.path, read_table(self.path, "requests"))
        if not self.manifest.scenario:
            table = table.assign(draw=pd.array([pd.NA] * len(table), dtype="Int64"))
        return self._numbered(self.placed(table, only_missing=True))

    @cached_property
    def counters(self) -> pd.DataFrame:
        """All counter samples; columns as ``TABLE_COLUMNS['counters']``."""
        return read_table(self.path, "counters")

    @cached_property
    def events(self) -> pd.DataFrame:
        """All events; columns as ``TABLE_COLUMNS['events']``."""
        return read_table(self.path, "events")

    @cached_property
    def profile(self) -> tuple[Sampled, ...]:
        """The service's stacks in each block; none of a run without a CPU profile."""
        return read_profiles(self.path)

    @cached_property
    def measured_spans(self) -> pd.DataFrame:
        """The spans that count: ``measured(self.spans, self.manifest)``."""
        return measured(self.spans, self.manifest)

    @cached_property
    def projected_spans(self) -> pd.DataFrame:
        """All spans, warm-up included, without the columns that no answer needs."""
        return _to_frame(self._projected)

    @cached_property
    def projected_measured_spans(self) -> pd.DataFrame:
        """The spans that count, without the columns that no answer needs."""
        if not self.manifest.blocks:
            return self.projected_spans
        counted = [block.block for block in self.manifest.measured_blocks]
        inside = pc.is_in(self._projected.column("block"), pa.array(counted, pa.int32()))
        return _to_frame(column_projection.rows(self._projected, inside.to_numpy()))

    @cached_property
    def _projected(self) -> pa.Table:
        """What was read already is not read again; of irregular types it is read with care."""
        file = self.path / "spans.parquet"
        _check_table(self.path, "spans")
        known = (
            "spans" in self.__dict__
            or self.manifest is not self.written
            or self.placement is not None
        )
        if known or not column_projection.is_regular(file):
            return pa.Table.from_pandas(
                column_projection.from_frame(self.spans), preserve_index=False
            )
        try:
            table = column_projection.read(file)
        except (OSError, pa.ArrowException) as error:
            raise _damaged(file, error) from error
        if table.column("start_ns").null_count:
            return pa.Table.from_pandas(
                column_projection.from_frame(self.spans), preserve_index=False
            )
        return table

    @cached_property
    def measured_requests(self) -> pd.DataFrame:
        """The arrivals that count: ``measured(self.requests, self.manifest)``."""
        return measured(self.requests, self.manifest)

    @cached_property
    def llm_calls(self) -> pd.DataFrame:
        """What the LLM simulator logged, one row a call; empty when there is no log."""
        return read_llm_log(self.path / "logs" / "llm.jsonl")

    def about(self, operation: str | None, statement: str | None) -> Run:
        """The run with what its change was about, where that is named."""
        if operation is None and statement is None:
            return self
        manifest, written = (
            replace(
                one,
                cached_operation=operation or one.cached_operation,
                cached_collection=statement or one.cached_collection,
            )
            for one in (self.manifest, self.written)
        )
        is_regular = self.written is self.manifest
        return replace(self, manifest=manifest, written=manifest if is_regular else written)

    def placed(self, table: pd.DataFrame, *, only_missing: bool = False) -> pd.DataFrame:
        """A table with trace ids, each row with its trace's arm, step and block.

        With ``only_missing`` rows that have an arm keep theirs: the load's own.
        """
        if self.placement is None:
            return table
        found = self.placement.follow(table)
        if not only_missing:
            return found
        missing = table["arm"].isna()
        return table.assign(
            **{name: table[name].mask(missing, found[name]) for name in ("arm", "step", "block")}
        )

    def _numbered(self, table: pd.DataFrame) -> pd.DataFrame:
        return table if self.manifest is self.written else follow(table, self.written)


def open_run(path: str | Path, *, arm_from: str | None = None) -> Run:
    """Open a run directory and check it; tables are read later, when asked for.

    A recording whose requests were not given their arm when it was made gets them now.
    ``arm_from`` is a resource attribute that names the arm where the load does not.

    Raises
    ------
    InputError
        When the directory, its manifest or a table is missing, damaged or of another format.
    ColumnError
        When a table lacks a column of the format.
    """
    folder = Path(path)
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise InputError(
            f"{folder}: {found} was found where a run directory was expected;"
            " name a folder under runs/"
        )
    manifest = _read_manifest(folder / "manifest.json")
    for table in TABLE_COLUMNS:
        _check_table(folder, table)
    placement = None
    if is_recording(manifest) and (manifest.placed is None or arm_from is not None):
        if arm_from is not None:
            manifest = replace(manifest, arm_from=arm_from, arms=(), steps=(), blocks=())
        placement = _placement(folder, manifest)
        manifest = placement.told(manifest)
    unique = renumbered(manifest) if is_needed(manifest) else manifest
    return Run(path=folder, manifest=unique, written=manifest, placement=placement)


def numbered_table(run: Run, table: str) -> pd.DataFrame:
    """A table of spans or requests, row by row as in its file, with arm, step and block."""
    rows = run.placed(read_table(run.path, table), only_missing=table == "requests")
    return rows if run.manifest is run.written else follow(rows, run.written)


def _placement(folder: Path, manifest: Manifest) -> Placement:
    try:
        return place(folder, manifest)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(folder / "spans.parquet", error) from error


def measured(table: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    """Rows of ``table`` (with a ``block`` column) that count: no warm-up, nothing unplanned.

    Without blocks in the manifest (a run of somebody else's service) every row counts.
    """
    if not manifest.blocks:
        return table
    counted = [block.block for block in manifest.measured_blocks]
    return table[table["block"].isin(counted).fillna(value=False)]


def read_table(folder: Path, table: str, columns: Iterable[str] | None = None) -> pd.DataFrame:
    """One table of a run directory with the types of ``TABLE_COLUMNS``; ``columns`` picks some.

    Raises
    ------
    InputError
        When the file is missing or cannot be read.
    ColumnError
        When a column is missing or cannot be given its type.
    """
    _check_table(folder, table)
    wanted = list(columns) if columns is not None else list(TABLE_COLUMNS[table])
    file = folder / f"{table}.parquet"
    try:
        frame = pq.read_table(file, columns=wanted).to_pandas(types_mapper=_nullable)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(file, error) from error
    try:
        typed: pd.DataFrame = frame.astype({name: TABLE_COLUMNS[table][name] for name in wanted})
    except (TypeError, ValueError) as error:
        raise ColumnError(
            f"{file}: a column does not hold what docs/run-directory.md says"
            f" ({_first_line(error)}); record the run again"
        ) from error
    return typed


def _http_if_any(folder: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """Leave out the rows of other kinds, unless there is nothing else; old runs have one kind."""
    file = folder / "requests.parquet"
    if "request_type" not in pq.read_schema(file).names:
        return rows
    kind = pq.read_table(file, columns=["request_type"]).column("request_type").to_pandas()
    is_http = (kind.isna() | (kind == "http")).to_numpy()
    return rows[is_http].reset_index(drop=True) if is_http.any() and not is_http.all() else rows


def read_llm_log(file: Path) -> pd.DataFrame:
    """The LLM simulator's log, one row a call.

    Columns t_ns, kind, draw, trace_id, planned_ns, actual_ns, status and what else it holds.
    An absent log gives an empty table: the LLM was somebody else's.
    """
    columns = ["t_ns", "kind", "draw", "trace_id", "planned_ns", "actual_ns", "status"]
    if not file.exists():
        return pd.DataFrame(columns=columns)
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(
                f"{file}, line {number}: not a JSON object ({error.msg});"
                " the simulator's log is cut off or was edited: record the run again"
            ) from error
        rows.append(row)
    return pd.DataFrame(rows, columns=list(dict.fromkeys([*columns, *(rows[0] if rows else ())])))


def _read_manifest(file: Path) -> Manifest:
    if not file.is_file():
        raise InputError(
            f"{file.parent}: no manifest.json was found, so this is not a run directory;"
            " name a folder that worthit run, demo or record has written"
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(
            f"{file}: not readable as JSON ({_first_line(error)}); record the run again"
        ) from error
    if not isinstance(content, dict):
        raise InputError(
            f"{file}: a JSON {type(content).__name__} was found, an object was expected"
        )
    version = content.get("format_version")
    if version != FORMAT_VERSION:
        raise InputError(
            f"{file}: format version {version!r} was found, {FORMAT_VERSION} was expected;"
            " read this run with the version of worthit that wrote it"
        )
    try:
        return parse(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise InputError(
            f"{file}: {where}: {first['msg']}; docs/run-directory.md says what belongs there"
        ) from error


def _check_table(folder: Path, table: str) -> None:
    """Read the table's footer only: it is there, it is Parquet, it has the columns."""
    file = folder / f"{table}.parquet"
    if not file.is_file():
        raise InputError(
            f"{file}: the table is missing; a run directory holds"
            f" {', '.join(f'{name}.parquet' for name in TABLE_COLUMNS)}: record the run again"
        )
    try:
        names = set(pq.read_schema(file).names)
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{file}: not a whole Parquet file ({_first_line(error)}); record the run again"
        ) from error
    missing = [name for name in TABLE_COLUMNS[table] if name not in names]
    if missing:
        raise ColumnError(
            f"{file}: column {', '.join(missing)} is missing;"
            " docs/run-directory.md lists the columns"
        )


def _to_frame(table: pa.Table) -> pd.DataFrame:
    others = table.drop_columns(list(column_projection.NUMBERS))
    frame = others.to_pandas(types_mapper=_lean_type, ignore_metadata=True, split_blocks=True)
    return with_numbers(frame, table)


def _lean_type(kind: pa.DataType) -> Any:  # noqa: ANN401 - as _nullable
    """Texts stay in Arrow's memory, whatever pandas would make of them."""
    is_text = kind in (pa.string(), pa.large_string())
    return pd.StringDtype("pyarrow", na_value=np.nan) if is_text else _nullable(kind)


def _damaged(file: Path, error: BaseException) -> InputError:
    return InputError(f"{file}: the table is damaged ({_first_line(error)}); record the run again")


def _nullable(kind: pa.DataType) -> Any:  # noqa: ANN401 - pandas gives its dtypes no common public type
    """Integers and booleans keep their nulls; times in ns would lose digits as floats."""
    return {
        pa.int8(): pd.Int8Dtype(),
        pa.int16(): pd.Int16Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.uint8(): pd.UInt8Dtype(),
        pa.uint16(): pd.UInt16Dtype(),
        pa.uint32(): pd.UInt32Dtype(),
        pa.uint64(): pd.UInt64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }.get(kind)


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
