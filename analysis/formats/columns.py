"""The columns of the spans table, and how attributes of any tracer become them.

Every reader fills a ``Batch`` span by span or column by column and hands over an Arrow table with
``SPANS``. Superseded attribute names are understood here, once for all formats.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from worthit.contract.names import COLUMN_ATTRIBUTES
from worthit.contract.tables import SPANS

REQUIRED = ("trace_id", "span_id", "parent_span_id", "service", "name", "start_ns", "duration_ns")
"""Without these no question about traces can be answered; every other column may be missing."""

_PANDAS_TYPES = {
    pa.int64(): pd.Int64Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}

_IDS = ("trace_id", "span_id", "parent_span_id")
_TIMES = ("start_ns", "duration_ns")
DENSE = (*_IDS, "service", "name", "kind", *_TIMES, "status", "attributes")
"""Columns that most spans have a value in."""
SPARSE = tuple(name for name in SPANS.names if name not in DENSE)
"""Columns that most spans have none in."""
dumps = orjson.dumps


class Batch:
    """Spans of one file on their way into columns.

    ``columns`` has one list for each of ``DENSE``, appended to in step by the readers' own loops:
    a call a span and column costs too much at a million spans. The other columns are mostly empty:
    ``sparse`` maps rows to values. Texts may be in any case, times in any unit; ``table`` is told.
    """

    __slots__ = ("columns", "sparse")

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {name: [] for name in DENSE}
        self.sparse: dict[str, dict[int, Any]] = {name: {} for name in SPARSE}

    def __len__(self) -> int:
        return len(self.columns["attributes"])

    def promote(self, attributes: dict[str, Any]) -> None:
        """Append one span's attributes; those that have a column of their own go there.

        What a database's or cache's column takes leaves the JSON; what it cannot read, or takes
        from a newer name, stays in it. So does what names the run.
        """
        found = _PROMOTED.intersection(attributes)
        if found:
            row = len(self.columns["attributes"])
            for source in sorted(found, key=_RANKS.__getitem__):
                name, read, stays = _SOURCES[source]
                value, taken = attributes[source], self.sparse[name]
                if read is not _text or type(value) is not str or not value:
                    value = read(value)  # else it reads as itself, the usual case
                if value is None or row in taken:
                    continue
                taken[row] = value
                if not stays:
                    del attributes[source]
        self.columns["attributes"].append(_json(attributes) if attributes else None)

    def table(self, *, ns_per_unit: int = 1) -> pa.Table:
        """Give the rows so far as Arrow columns of ``SPANS``, ids in lower case."""
        arrays = [self._array(field, ns_per_unit) for field in SPANS]
        return pa.Table.from_arrays(arrays, schema=SPANS)

    def attributes(self) -> pa.Table:
        """Give what ``promote`` took alone, for readers that have the other columns already."""
        fields = [SPANS.field(name) for name in (*SPARSE, "attributes")]
        return pa.table({field.name: self._array(field, 1) for field in fields})

    def _array(self, field: pa.Field, ns_per_unit: int) -> pa.Array:
        if field.name in self.sparse:
            return _scattered(self.sparse[field.name], len(self), field)
        if field.name == "attributes":  # bytes, and UTF-8 as orjson wrote them
            return pa.array(self.columns["attributes"], pa.large_binary()).view(field.type)
        array = pa.array(self.columns[field.name], field.type)
        if field.name in _IDS:
            array = pc.ascii_lower(array)
            return without_zeros(array) if field.name == "parent_span_id" else array
        if field.name in _TIMES and ns_per_unit != 1:
            return pc.multiply_checked(array, ns_per_unit)
        return pc.ascii_upper(array) if field.name == "kind" else array


_NO_PARENT = pa.array(["", "0", "0" * 16, "0" * 32, "null", "none"], pa.large_string())
"""What tools write for a root's parent beside leaving it out."""


def without_zeros(parents: pa.Array) -> pa.Array:
    """Give an id of zeros, which is none, as missing."""
    none = pc.is_in(parents, value_set=_NO_PARENT)
    if not pc.any(none).as_py():
        return parents
    return pc.if_else(none, pa.scalar(None, parents.type), parents)


def _json(attributes: dict[str, Any]) -> bytes:
    try:
        return dumps(attributes, default=str)
    except TypeError:  # deeper or larger than orjson writes, or keys that are no texts
        return json.dumps({str(key): str(attributes[key]) for key in attributes}).encode()


def _scattered(values: dict[int, Any], rows: int, field: pa.Field) -> pa.Array:
    """Make a column of a few values; ``follows_from`` is false elsewhere, others are missing."""
    if not values:
        if pa.types.is_boolean(field.type) and field.name == "follows_from":
            return pa.repeat(pa.scalar(value=False), rows)
        return pa.nulls(rows, field.type)
    places = np.full(rows, len(values), np.int64)
    places[np.fromiter(values, np.int64, len(values))] = np.arange(len(values))
    elsewhere = False if field.name == "follows_from" else None
    return pa.array([*values.values(), elsewhere], field.type).take(pa.array(places))


def _text(value: object) -> str | None:
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else str(value)


def _whole(value: object) -> int | None:
    """Read a number that baggage may have turned into text.

    What is no number that int32 holds is no number.
    """
    if value is None:
        return None
    try:
        number = int(str(value))
    except ValueError:
        return None
    return number if abs(number) < 2**31 else None


def _truth(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(str(value).lower()) if value is not None else None


_SUPERSEDED: Mapping[str, tuple[str, ...]] = {
    "db_system": ("db.system", "db.type"),
    "db_operation": ("db.operation", "sql.query_type"),
    "db_collection": ("db.sql.table", "db.mongodb.collection", "db.cassandra.table"),
}
"""Older names of the semantic conventions, those of the best known first; ``sql.query_type`` is
Datadog's (dd-trace-go, contrib/database/sql): Connect, Query, Exec, Prepare, Begin."""

_READERS: Mapping[str, Callable[[object], object]] = {
    "step": _whole,
    "block": _whole,
    "cache_hit": _truth,
}
"""How the value is read where it is no text."""

_STAYS = frozenset({"arm", "step", "block"})
"""What names the run stays among the attributes though a column took it."""

COLUMN_SOURCES: Mapping[str, tuple[tuple[str, ...], Callable[[object], object], bool]] = {
    column: (
        (attribute, *_SUPERSEDED.get(column, ())),
        _READERS.get(column, _text),
        column in _STAYS,
    )
    for column, attribute in COLUMN_ATTRIBUTES.items()
}
"""Column: the attributes it is taken from, today's name first, then superseded ones of the
semantic conventions; how the value is read; and whether the attribute stays among the others when
the column took it.
"""
_SOURCES = {
    source: (name, read, stays)
    for name, (sources, read, stays) in COLUMN_SOURCES.items()
    for source in sources
}
"""The same by attribute: its column, how it is read, whether it stays."""
_RANKS = {
    source: place
    for sources, _, _ in COLUMN_SOURCES.values()
    for place, source in enumerate(sources)
}
"""The order in which attributes are read: of one column's the first that can be read holds."""
_PROMOTED = frozenset(_SOURCES)


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """Give a spans table as pandas.

    With nullable integers and booleans where the format allows a missing value.
    """
    texts = [name for name in table.column_names if pa.types.is_large_string(_type(table, name))]
    frame: pd.DataFrame = table.select(texts).to_pandas(split_blocks=True)
    for name in texts:  # a column of nothing but nulls is no text to pandas
        if frame[name].dtype != "str":
            frame[name] = frame[name].astype("str")
    return with_numbers(frame, table)


def with_numbers(others: pd.DataFrame, table: pa.Table) -> pd.DataFrame:
    """Give all columns of ``table``, of which those that are no numbers were made already."""
    columns = {
        name: others[name] if name in others.columns else _numbers(table.column(name), name)
        for name in table.column_names
    }
    return pd.DataFrame(columns, index=others.index, copy=False)


def _type(table: pa.Table, name: str) -> pa.DataType:
    return table.schema.field(name).type


def _numbers(column: pa.ChunkedArray, name: str) -> pd.Series:
    """Whole numbers and truths without a detour: chunks are brought together once."""
    if column.null_count or pa.types.is_boolean(column.type):
        values: pd.Series = column.to_pandas(types_mapper=_PANDAS_TYPES.get)
        return values.astype("int64") if name == "start_ns" else values
    whole = np.require(column.to_numpy(), requirements="W")
    if name == "start_ns":
        return pd.Series(whole, copy=False)
    return pd.Series(pd.arrays.IntegerArray(whole, np.zeros(whole.size, np.bool_)))


def empty() -> pa.Table:
    """Give a spans table without rows."""
    return SPANS.empty_table()
