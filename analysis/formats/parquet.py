"""Parquet files of spans.

What a run directory holds, read whole, by column, or a batch of rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from analysis.errors import ColumnError, InputError
from analysis.formats import named_columns
from analysis.formats.columns import REQUIRED, empty
from analysis.formats.jaeger import jaeger_documents
from analysis.formats.reading import NotTracesError, Reading
from worthit.contract.tables import SPANS

MAGIC = b"PAR1"
_REPEATED = (
    "service", "name", "kind", "status", "arm", "db_system", "db_operation", "db_collection",
)  # fmt: skip
"""Columns of few different texts: those are read once, not once a span."""


def table(
    path: Path,
    columns: Sequence[str] | None = None,
    content: bytes | None = None,
    *,
    reading: Reading | None = None,
) -> pa.Table:
    """Read a file's spans columns, all or only those named.

    ``content`` is what the file holds where it was unzipped. Raises ``InputError`` or
    ``ColumnError``; ``NotTracesError`` where no column is a span's.
    """
    with _opened(path, content) as file:
        if _is_others(file.schema_arrow):
            return pa.concat_tables(_others(file, path, reading or Reading()))
        names = _present(file.schema_arrow, path, columns)
        try:
            groups = [
                conform(file.read_row_group(group, columns=names), path, columns)
                for group in range(file.num_row_groups)  # what is cast is gone before the next
            ]
            return pa.concat_tables(groups) if groups else conform(file.read(names), path, columns)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path} is damaged: {error}. Copy or record it again.") from error


def batches(
    path: Path,
    columns: Sequence[str] | None = None,
    rows: int = 1 << 19,
    *,
    reading: Reading | None = None,
) -> Iterator[pa.Table]:
    """Read a file a batch of rows at a time."""
    with _opened(path) as file:
        if _is_others(file.schema_arrow):
            yield from _others(file, path, reading or Reading())
            return
        names = _present(file.schema_arrow, path, columns)
        try:
            for batch in file.iter_batches(batch_size=rows, columns=names):
                yield conform(pa.Table.from_batches([batch]), path, columns)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path} is damaged: {error}. Copy or record it again.") from error


_ROWS_OF_OTHERS = 1 << 17
"""Rows of other tools' tables that become columns at once."""


def _is_others(schema: pa.Schema) -> bool:
    """Whether another tool wrote the table: it has none of our times' names."""
    return not {"start_ns", "duration_ns"} & set(schema.names)


def _others(file: pq.ParquetFile, path: Path, reading: Reading) -> Iterator[pa.Table]:
    """Read another tool's table: ClickHouse's, Jaeger's spans, or columns known by their names."""
    names = file.schema_arrow.names
    spans = {"traceID", "spanID", "references"} <= set(names)  # the AIOps Challenge of 2025
    layout = None if spans else named_columns.layout_of(names, reading.columns)
    if layout is None and not spans:
        lacks = named_columns.lacking(names) or "the columns of spans"
        raise NotTracesError(
            f"{path} is Parquet without {lacks} (it has {', '.join(names[:12])}); see "
            "docs/run-directory.md, or say which column is what with --columns trace_id=..."
        )
    yield empty()
    try:
        for batch in file.iter_batches(batch_size=_ROWS_OF_OTHERS):
            if layout is None:
                yield jaeger_documents.table(_plain_rows(batch.to_pylist()))
            else:
                columns = dict(zip(batch.schema.names, batch.columns, strict=True))
                yield named_columns.spans_of(columns, layout, reading)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is damaged: {error}. Copy or record it again.") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path} looks like a table of spans and holds something else ({error!r})."
        ) from error


def _plain_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give rows whose nested columns are JSON texts, as some writers have them, as objects."""
    for row in rows:
        for name in ("references", "tags", "process"):
            if isinstance(row.get(name), str):
                row[name] = orjson.loads(row[name])
    return rows


def _opened(path: Path, content: bytes | None = None) -> pq.ParquetFile:
    try:
        found = pa.memory_map(str(path)) if content is None else pa.BufferReader(content)
        about = pq.read_metadata(found)
        there = {about.schema.column(place).path for place in range(about.num_columns)}
        repeated = [name for name in _REPEATED if name in there]
        return pq.ParquetFile(found, metadata=about, read_dictionary=repeated)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path} begins like Parquet and is not whole: {error}. Copy or record it again."
        ) from error


def _present(schema: pa.Schema, path: Path, columns: Sequence[str] | None) -> list[str]:
    missing = [name for name in REQUIRED if name not in schema.names]
    if missing:
        raise ColumnError(
            f"{path} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)} "
            f"(it has {', '.join(schema.names)}); see docs/run-directory.md."
        )
    wanted = SPANS.names if columns is None else columns
    return [name for name in schema.names if name in wanted]


def conform(found: pa.Table, path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Bring a table to ``SPANS``: types cast, missing columns added as nulls."""
    arrays, fields = [], []
    for field in SPANS:
        if columns is not None and field.name not in columns:
            continue
        if field.name not in found.column_names:
            arrays.append(pa.chunked_array([pa.nulls(found.num_rows, field.type)]))
        else:
            arrays.append(_cast(found.column(field.name), field, path))
        fields.append(field)
    table = pa.Table.from_arrays(arrays, schema=pa.schema(fields))
    return _without_start(table) if table.column("start_ns").null_count else table


def _without_start(found: pa.Table) -> pa.Table:
    """Give a span without a start no duration either, and 0 for the start: it has no times."""
    missing = pc.is_null(found.column("start_ns"))
    for name, instead in (("start_ns", 0), ("duration_ns", None)):
        place = found.schema.get_field_index(name)
        value = pa.scalar(instead, pa.int64())
        column = pc.if_else(missing, value, found.column(name))
        found = found.set_column(place, SPANS.field(name), column)
    return found


def _cast(column: pa.ChunkedArray, field: pa.Field, path: Path) -> pa.ChunkedArray:
    if column.type == field.type:
        return column
    nested = pa.types.is_map(column.type) or pa.types.is_struct(column.type)
    try:
        if nested and pa.types.is_large_string(field.type):
            texts = [_object(dict(row)) if row else None for row in column.to_pylist()]
            return pa.chunked_array([pa.array(texts, field.type)])
        if pa.types.is_timestamp(column.type):
            return column.cast(pa.timestamp("ns", column.type.tz)).cast(field.type)
        if pa.types.is_duration(column.type):
            return column.cast(pa.duration("ns")).cast(field.type)
        if pa.types.is_floating(column.type) and pa.types.is_integer(field.type):
            return pc.cast(column, field.type, safe=True)
        return column.cast(field.type)
    except (pa.ArrowInvalid, TypeError) as error:
        raise ColumnError(
            f"{path}: the column {field.name} holds {column.type} that cannot be read as "
            f"{field.type} ({error}); docs/run-directory.md says what it should hold."
        ) from error
    except pa.ArrowNotImplementedError as error:
        raise ColumnError(
            f"{path}: the column {field.name} holds {column.type}; {field.type} is expected, "
            "see docs/run-directory.md."
        ) from error


def _object(row: Mapping[Any, Any]) -> str:
    """Write a map of attributes as JSON; bytes as hex, as OTLP's are."""
    named = {_plain(key): value for key, value in row.items()}
    return orjson.dumps(named, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
