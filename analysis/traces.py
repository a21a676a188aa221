"""Traces in, one spans table out: whatever tracer wrote them.

``read`` is the only door for files, folders and addresses; ``convert`` turns a recorder's file
into Parquet; ``attribute`` takes one attribute out of the JSON column.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
from analysis.formats.reading import NotTracesError, Reading
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
    column_map: Mapping[str, str] | None = None,
    partitions: None = None,
    folder: Path | None = None,
) -> pd.DataFrame: ...


@overload
def read(
    *paths: str | PathLike[str],
    columns: Sequence[str] | None = None,
    skip_damaged: bool = False,
    column_map: Mapping[str, str] | None = None,
    partitions: int,
    folder: Path | None = None,
) -> Partitions: ...


def read(
    *paths: str | PathLike[str],
    columns: Sequence[str] | None = None,
    skip_damaged: bool = False,
    column_map: Mapping[str, str] | None = None,
    partitions: int | None = None,
    folder: Path | None = None,
) -> pd.DataFrame | Partitions:
    """Read traces from run directories, files, folders of files, standard input and addresses.

    docs/analytics.md lists the formats; they are found by content, packed or not; ``-`` is
    standard input, an address a running Jaeger's or a file's. The result is one spans table with
    the columns of docs/run-directory.md (with ``columns``, only those named and what every
    question needs).
    ``column_map`` says which column of a CSV or another table is what, with the unit of a time
    (``{"start": "startTime:us"}``).

    What lies in a folder beside traces is passed over and named in ``attrs["passed_over"]``; what
    was taken for granted, such as units of time, is in ``attrs["remarks"]``. With ``skip_damaged``
    what can be read is, and ``attrs["damaged"]`` lists the rest; without, the first damage raises
    an ``AnalysisError`` naming file and place. Where nothing is traces an ``InputError`` says what
    there is.

    With ``partitions`` the traces are dealt out by trace id to so many parts on disk (in
    ``folder``, else a temporary place) and a ``Partitions`` is given, to be iterated: memory then
    holds one part, whatever the size of the run, and while dealing a batch of Parquet or of a
    recorder's file, but the whole of any other file. What was left out is in its ``damaged``.
    """
    if not paths:
        raise InputError("Name the traces: a run directory, files, folders or a Jaeger address.")
    reading = Reading(skip_damaged=skip_damaged, columns=column_map)
    wanted = None if columns is None else [*REQUIRED, *columns]
    with _collector_paused(), _memory_in_small_pages():
        if partitions is not None:
            parts = Partitions(partitions, folder)
            try:
                parts.fill(_tables(paths, wanted, reading, in_batches=True))
            except BaseException:
                parts.close()
                raise
            parts.damaged += reading.damaged
            parts.passed_over += reading.passed_over
            parts.remarks += reading.remarks
            return parts
        tables = list(_tables(paths, wanted, reading))
        whole = pa.concat_tables(tables) if tables else empty()
        del tables
        frame = spread(repaired(to_pandas(whole)))
    for name in ("damaged", "passed_over", "remarks"):
        if noted := getattr(reading, name):
            frame.attrs[name] = noted
    return frame


@dataclass(frozen=True, slots=True)
class InFolder:
    """A file that a folder was named for: where it is no traces, it is passed over."""

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)


def _tables(  # noqa: C901 - every way of failing has its own answer
    paths: Sequence[str | PathLike[str]],
    columns: Sequence[str] | None,
    reading: Reading,
    *,
    in_batches: bool = False,
) -> Iterator[pa.Table]:
    """Give the sources' rows a file at a time, or what can be read so a batch at a time."""
    others: list[str] = []
    tables = 0
    for path in paths:
        if is_stream(path):
            yield _only(_streamed(path, reading), columns)
            tables += 1
            continue
        named = not isinstance(path, InFolder) and not Path(path).is_dir()
        for file in files(path):
            try:
                for rows in _rows_of(file, columns, reading, in_batches=in_batches):
                    yield _only(rows, columns)
                tables += 1
            except NotTracesError as error:
                if named and not reading.skip_damaged:
                    raise
                told, _, _ = str(error).partition("; ")
                (reading.damaged if named else others).append(f"{told.rstrip('.')}.")
            except AnalysisError as error:
                if not reading.skip_damaged:
                    raise
                reading.damaged.append(str(error))
    if others and not tables and not reading.damaged:
        raise InputError(f"Nothing that was named holds traces. {' '.join(others)}")
    reading.passed_over += others


def _streamed(path: str | PathLike[str], reading: Reading) -> pa.Table:
    """Read standard input, or what an address answers."""
    if path == STANDARD_INPUT:
        return found.table_of(sys.stdin.buffer.read(), "standard input", None, reading)
    from analysis.formats.jaeger import jaeger_api  # noqa: PLC0415 - the HTTP client, when needed

    return jaeger_api.table(str(path), reading)


def _rows_of(
    file: Path, columns: Sequence[str] | None, reading: Reading, *, in_batches: bool
) -> Iterator[pa.Table]:
    try:
        if in_batches:
            yield from found.batches(file, columns, reading)
        else:
            yield found.table(file, columns, reading)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}.") from error
    except (MemoryError, RecursionError) as error:
        raise InputError(
            f"{file} is too large or too deep to be read at once ({type(error).__name__})."
        ) from error


def _only(table: pa.Table, columns: Sequence[str] | None) -> pa.Table:
    return table if columns is None else table.select([n for n in SPANS.names if n in columns])


STANDARD_INPUT = "-"


def is_stream(path: str | PathLike[str]) -> bool:
    """Whether a path is standard input or an address."""
    return path == STANDARD_INPUT or is_address(path)


def is_address(path: str | PathLike[str]) -> bool:
    """Whether a path is an address, a Jaeger's or a file's."""
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
    if not place.is_dir():  # a file, or a pipe
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
    return sorted([*kept, *(run / _SPANS for run in runs)], key=_in_order)


def _in_order(file: Path) -> tuple[str, bool, str]:
    """Order rotated files, whose names have the time of their end, before the one being written.

    The collector makes ``traces-2026-11-30T12-00-00.000.json`` of ``traces.json``.
    """
    stem, _, _ = file.stem.partition("-20")
    return (str(file.parent / stem), stem == file.stem, file.name)


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


@contextmanager
def _memory_in_small_pages() -> Iterator[None]:
    """Let Arrow take its memory from malloc while it reads.

    Its own allocator asks for huge pages: where the system must first make room for one, as a
    virtual machine's does, the first touch of memory costs more than all the decoding.
    """
    usual = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(usual)


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
