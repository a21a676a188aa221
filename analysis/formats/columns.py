"""The columns of the spans table, and how attributes of any tracer become them.

Every reader fills a ``Batch`` span by span or column by column and hands over an Arrow table with
``SCHEMA``. Superseded attribute names are understood here, once for all formats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pandas as pd
import pyarrow as pa

SCHEMA = pa.schema(
    [
        ("trace_id", pa.large_string()),
        ("span_id", pa.large_string()),
        ("parent_span_id", pa.large_string()),
        ("service", pa.large_string()),
        ("name", pa.large_string()),
        ("kind", pa.large_string()),
        ("start_ns", pa.int64()),
        ("duration_ns", pa.int64()),
        ("status", pa.large_string()),
        ("arm", pa.large_string()),
        ("step", pa.int32()),
        ("block", pa.int32()),
        ("db_system", pa.large_string()),
        ("db_operation", pa.large_string()),
        ("db_collection", pa.large_string()),
        ("cache_hit", pa.bool_()),
        ("attributes", pa.large_string()),
        ("follows_from", pa.bool_()),
        ("links", pa.large_string()),
    ]
)
"""docs/run-directory.md's columns, then two of our own: ``follows_from`` (the parent did not
wait for this span) and ``links`` (JSON).
"""

REQUIRED = ("trace_id", "span_id", "parent_span_id", "service", "name", "start_ns", "duration_ns")
"""Without these no question about traces can be answered; every other column may be missing."""

_PANDAS_TYPES = {
    pa.int64(): pd.Int64Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}

_NAMES: Mapping[str, tuple[str, ...]] = {
    "db_system": ("db.system.name", "db.system"),
    "db_operation": ("db.operation.name", "db.operation"),
    "db_collection": (
        "db.collection.name",
        "db.sql.table",
        "db.mongodb.collection",
        "db.cassandra.table",
    ),
    "cache_hit": ("cache.hit",),
    "arm": ("worthit.arm",),
    "step": ("worthit.step",),
    "block": ("worthit.block",),
}
"""Column: the attribute names it is taken from, today's first, then superseded ones of the
semantic conventions.
"""

TEXT_COLUMNS = tuple(field.name for field in SCHEMA if pa.types.is_large_string(field.type))


class Batch:
    """Spans of one file on their way into columns: one list a column, appended to in step.

    Readers bind the lists' ``append`` once and fill them in their own loop: a call a span costs
    too much at a million spans.
    """

    __slots__ = ("columns",)

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}

    def __len__(self) -> int:
        return len(self.columns["trace_id"])

    def table(self) -> pa.Table:
        """Give the rows so far as Arrow columns of ``SCHEMA``."""
        arrays = [pa.array(self.columns[field.name], field.type) for field in SCHEMA]
        return pa.Table.from_arrays(arrays, schema=SCHEMA)


def promote(columns: dict[str, list[Any]], attributes: dict[str, Any]) -> None:
    """Append the columns that come from attributes.

    Those of the database and cache leave the JSON, the run's own stay in it.
    """
    if not attributes:
        for name in _FROM_ATTRIBUTES:
            columns[name].append(None)
        return
    get, pop = attributes.get, attributes.pop
    columns["arm"].append(_text(get("worthit.arm")))
    columns["step"].append(_whole(get("worthit.step")))
    columns["block"].append(_whole(get("worthit.block")))
    hit = pop("cache.hit", None)
    columns["cache_hit"].append(_truth(hit))
    if "db.system.name" in attributes or "db.system" in attributes or "db.type" in attributes:
        for name in _DATABASE:
            columns[name].append(_first(attributes, _NAMES[name]))
    else:
        columns["db_system"].append(None)
        columns["db_operation"].append(None)
        columns["db_collection"].append(None)
    columns["attributes"].append(
        orjson.dumps(attributes, default=str).decode() if attributes else None
    )


_DATABASE = ("db_system", "db_operation", "db_collection")
_FROM_ATTRIBUTES = ("arm", "step", "block", *_DATABASE, "cache_hit", "attributes")


def _first(attributes: dict[str, Any], names: tuple[str, ...]) -> str | None:
    """Take the first of the names that is there out of the attributes."""
    for name in names:
        if name in attributes:
            return _text(attributes.pop(name))
    return None


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


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """Give a spans table as pandas.

    With nullable integers and booleans where the format allows a missing value.
    """
    frame: pd.DataFrame = table.to_pandas(
        types_mapper=_PANDAS_TYPES.get, self_destruct=True, split_blocks=True
    )
    for name in TEXT_COLUMNS:  # a column of nothing but nulls is no text to pandas
        if name in frame.columns and frame[name].dtype != "str":
            frame[name] = frame[name].astype("str")
    if "start_ns" in frame.columns:
        frame["start_ns"] = frame["start_ns"].astype("int64")
    return frame


def empty() -> pa.Table:
    """Give a spans table without rows."""
    return SCHEMA.empty_table()
