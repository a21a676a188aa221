"""Traces in, one spans table out: whatever tracer wrote them.

``read`` is the only door for files, folders and addresses; ``convert`` turns a recorder's file
into Parquet; ``attribute`` takes one attribute out of the JSON column.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, overload

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.api.extensions import ExtensionArray

from analysis.calltree.id_repair import repaired
from analysis.checks.trace_quality import issues
from analysis.errors import AnalysisError, InputError
from analysis.formats import found
from analysis.formats.columns import REQUIRED, empty, to_pandas
from analysis.formats.partitions import Partitions, spread
from analysis.rundir.recorded import Converted, convert
from worthit.contract.tables import SPANS

__all__ = ["Converted", "Partitions", "attribute", "convert", "issues", "read"]

_SPANS, _MANIFEST = "spans.parquet", "manifest.json"
"""What a run directory is known by."""
_TYPES: dict[str, set[type]] = {
    "Int64": {int},
    "Float64": {int, float},
    "boolean": {bool},
    "str": {str},
}
"""Column types of an attribute, and what they can hold."""


@overload
def read(
    *paths: str | PathLike[str],
    columns: Sequence[str] | None = None,
    skip_damaged: bool = False,
    partitions: None = None,
    folder: Path | None = None,
) -> pd.DataFrame: ...


@overload
def read(
    *paths: str | PathLike[str],
    columns: Sequence[str] | None = None,
    skip_damaged: bool = False,
    partitions: int,
    folder: Path | None = None,
) -> Partitions: ...


def read(
    *paths: str | PathLike[str],
    columns: Sequence[str] | None = None,
    skip_damaged: bool = False,
    partitions: int | None = None,
    folder: Path | None = None,
) -> pd.DataFrame | Partitions:
    """Read traces from run directories, files, folders of files and Jaeger addresses.

    Formats: Parquet, OTLP JSON and protobuf, Jaeger JSON, Zipkin v2 JSON, each also gzipped; found
    by content. The result is one spans table with the columns of docs/run-directory.md (with
    ``columns``, only those named and what every question needs). With ``skip_damaged`` what can be
    read is, and ``attrs["damaged"]`` lists the rest; without, the first damage raises an
    ``AnalysisError`` naming file and place.

    With ``partitions`` the traces are dealt out by trace id to so many parts on disk (in
    ``folder``, else a temporary place) and a ``Partitions`` is given, to be iterated: memory then
    holds one part, whatever the size of the run, and while dealing a batch of Parquet or of a
    recorder's file, but the whole of any other file. What was left out is in its ``damaged``.
    """
    if not paths:
        raise InputError("Name the traces: a run directory, files, folders or a Jaeger address.")
    damage: list[str] | None = [] if skip_damaged else None
    wanted = None if columns is None else [*REQUIRED, *columns]
    with _collector_paused():
        if partitions is not None:
            parts = Partitions(partitions, folder)
            try:
                parts.fill(_tables(paths, wanted, damage, in_batches=True))
            except BaseException:
                parts.close()
                raise
            parts.damaged += damage or []
            return parts
        tables = list(_tables(paths, wanted, damage))
        whole = pa.concat_tables(tables) if tables else empty()
        del tables
        frame = spread(repaired(to_pandas(whole)))
    if damage:
        frame.attrs["damaged"] = damage
    return frame


def _tables(
    paths: Sequence[str | PathLike[str]],
    columns: Sequence[str] | None,
    damage: list[str] | None,
    *,
    in_batches: bool = False,
) -> Iterator[pa.Table]:
    """Give the sources' rows a file at a time, or what can be read so a batch at a time."""
    for path in paths:
        if is_address(path):
            from analysis.formats import jaeger_api  # noqa: PLC0415 - the HTTP client, when needed

            yield _only(jaeger_api.table(str(path)), columns)
            continue
        for file in files(path):
            try:
                for rows in _rows_of(file, columns, damage, in_batches=in_batches):
                    yield _only(rows, columns)
            except AnalysisError as error:
                if damage is None:
                    raise
                damage.append(str(error))


def _rows_of(
    file: Path, columns: Sequence[str] | None, damage: list[str] | None, *, in_batches: bool
) -> Iterator[pa.Table]:
    try:
        if in_batches:
            yield from found.batches(file, columns, damage)
        else:
            yield found.table(file, columns, damage)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}.") from error


def _only(table: pa.Table, columns: Sequence[str] | None) -> pa.Table:
    return table if columns is None else table.select([n for n in SPANS.names if n in columns])


def is_address(path: str | PathLike[str]) -> bool:
    """Whether a path is a Jaeger's address."""
    return isinstance(path, str) and path.startswith(("http://", "https://"))


def files(path: str | PathLike[str]) -> list[Path]:
    """Give the trace files of a path.

    Itself, a run directory's spans, or every file of a folder, in order of name; a run directory
    in the folder stands for its spans. Hidden files and folders are passed over.
    """
    place = Path(path)
    if not place.exists():
        raise InputError(
            f"{place} does not exist; name a run directory, a file or a folder of traces."
        )
    if place.is_file():
        return [place]
    if (place / _SPANS).exists():
        return [place / _SPANS]
    if (place / _MANIFEST).exists():
        raise InputError(
            f"The run directory {place} has no spans.parquet: it did not finish. Run it again."
        )
    inside = [file for file in sorted(place.rglob("*")) if _is_shown(file, place)]
    runs = {file.parent for file in inside if file.name == _MANIFEST}
    kept = [file for file in inside if runs.isdisjoint(file.parents)]
    if not kept and not runs:
        raise InputError(
            f"The folder {place} is empty; a run directory or trace files are expected in it."
        )
    return sorted([*kept, *(run / _SPANS for run in runs)])


def _is_shown(file: Path, place: Path) -> bool:
    hidden = any(part.startswith((".", "_")) for part in file.relative_to(place).parts)
    return not hidden and file.is_file()


def run_of(file: Path) -> Path | None:
    """Give the run directory that a file is the spans of."""
    is_run = file.name == _SPANS and (file.parent / _MANIFEST).is_file()
    return file.parent if is_run else None


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep Python's cycle collector from walking millions of parsed objects again and again.

    They hold no cycles.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def attribute(spans: pd.DataFrame, key: str) -> pd.Series:
    """Take one attribute out of the ``attributes`` column, missing where a span lacks it.

    The Series has the index of ``spans``. Whole numbers come as Int64, numbers as Float64, truths
    as boolean, texts as str; anything mixed as objects. Only rows whose JSON mentions the key are
    parsed.
    """
    texts = pa.array(spans["attributes"], pa.large_string(), from_pandas=True)
    mentioned = pc.match_substring(texts, orjson.dumps(key).decode() + ":")
    rows = np.flatnonzero(pc.fill_null(mentioned, fill_value=False).to_numpy(zero_copy_only=False))
    values = [orjson.loads(text).get(key) for text in texts.take(pa.array(rows)).to_pylist()]
    place = np.full(len(spans), -1, np.int64)
    place[rows] = np.arange(rows.size)
    taken = _typed(values).take(place, allow_fill=True)
    return pd.Series(taken, index=spans.index, name=key)


def _typed(values: list[Any]) -> ExtensionArray:
    """Put parsed values into the narrowest type that holds them all."""
    kinds = {type(value) for value in values} - {type(None)}
    for dtype, allowed in _TYPES.items():
        if kinds <= allowed:
            return pd.Series(values, dtype=dtype).array
    return pd.Series(values, dtype="object").array
