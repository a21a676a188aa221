"""Moments and durations as other tools write them, as whole nanoseconds.

A number's unit is what its column's name says, else what its size can only mean: seconds since
1970 have ten digits today, milliseconds thirteen, microseconds sixteen, nanoseconds nineteen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
"""Nanoseconds of each unit."""
_SIZES = ((10**11, "s"), (10**14, "ms"), (10**17, "us"))
"""Numbers below each, by their median, are of this unit (until the year 5138); others are ns."""
_NAMED = (
    ("ns", re.compile(r"(nano|nanos|nanoseconds|_ns|Ns|NS)$|UnixNano", re.IGNORECASE)),
    ("us", re.compile(r"(micros|microseconds|_us|_micro)$", re.IGNORECASE)),
    ("ms", re.compile(r"(millis|milliseconds|_ms|_milli)$", re.IGNORECASE)),
    ("ns", re.compile(r"[a-z]Ns$")),
    ("us", re.compile(r"[a-z]Us$")),
    ("ms", re.compile(r"[a-z]Ms$")),
    ("s", re.compile(r"(_s|_sec|seconds|Seconds)$")),
)
"""Units that names of columns end with."""
_MOST_NS = (1 << 63) - 1


def unit_of_name(name: str) -> str | None:
    """Give the unit that a column's name ends with."""
    return next((unit for unit, pattern in _NAMED if pattern.search(name)), None)


def unit_of_size(values: NDArray[np.float64]) -> str:
    """Give the unit that moments of this size must have."""
    known = np.abs(values[np.isfinite(values) & (values != 0)])
    middle = float(np.median(known)) if known.size else 0.0
    return next((unit for limit, unit in _SIZES if middle < limit), "ns")


def nanoseconds(values: Sequence[Any], unit: str | None = None) -> list[int | None]:
    """Give moments, as numbers or ISO texts, in ns since 1970; None where there is none."""
    texts = pa.array([None if v is None else str(v) for v in values], pa.large_string())
    found: list[int | None] = in_ns(texts, unit).to_pylist()
    return found


def in_ns(column: pa.Array | pa.ChunkedArray, unit: str | None) -> pa.Array:
    """Give a column of moments or durations as int64 ns, missing where a value is none.

    ``unit`` is that of numbers; None: by their size. Texts are numbers or ISO 8601.
    """
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("ns", kind.tz)).cast(pa.int64())
    if pa.types.is_duration(kind):
        return column.cast(pa.duration("ns")).cast(pa.int64())
    if pa.types.is_integer(kind):
        return _scaled_whole(column.cast(pa.int64()), unit)
    if pa.types.is_floating(kind):
        return _scaled(column.cast(pa.float64()), unit)
    return _of_texts(pc.utf8_trim_whitespace(column.cast(pa.large_string())), unit)


def _scaled_whole(column: pa.Array, unit: str | None) -> pa.Array:
    if unit is None:
        values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        unit = unit_of_size(values)
    return pc.multiply_checked(column, UNITS[unit])


_NS_PER_US = 1000


def _scaled(column: pa.Array, unit: str | None) -> pa.Array:
    values = column.to_numpy(zero_copy_only=False).astype(np.float64)
    factor = UNITS[unit or unit_of_size(values)]
    values = np.where(np.isfinite(values), values, np.nan)
    whole = np.floor(values)
    largest = np.abs(values[np.isfinite(values)]).max(initial=0.0)
    step = _NS_PER_US if np.spacing(largest) * factor > 1 else 1  # a double holds no more of now
    with np.errstate(invalid="ignore"):
        known = ~np.isnan(values) & (np.abs(whole) < _MOST_NS / factor)
        ns = np.where(known, whole, 0).astype(np.int64) * factor
        parts = np.rint(np.where(known, values - whole, 0) * (factor / step))
        ns += parts.astype(np.int64) * step
    return pa.array(ns, mask=~known)


def _of_texts(column: pa.Array, unit: str | None) -> pa.Array:
    column = pc.if_else(pc.equal(column, ""), pa.scalar(None, column.type), column)
    try:
        return _scaled_whole(column.cast(pa.int64()), unit)
    except pa.ArrowInvalid:
        pass
    first = next((text for text in column[:1000].to_pylist() if text), "")
    if re.match(r"^\d{4}-\d\d", first) is not None:
        return _of_iso(column)
    return _of_decimals(column, unit)


def _of_iso(column: pa.Array) -> pa.Array:
    for kind in (pa.timestamp("ns", "UTC"), pa.timestamp("ns")):  # with a zone, without
        with suppress(pa.ArrowInvalid):  # another spelling, or a moment beyond int64
            ns = column.cast(kind).cast(pa.int64())
            return pc.if_else(pc.less(ns, 0), pa.scalar(None, pa.int64()), ns)
    texts = column.to_pandas().astype(object)
    found = pd.to_datetime(texts, utc=True, format="ISO8601", errors="coerce")
    try:
        whole = found.astype("datetime64[ns, UTC]")
    except (ValueError, pd.errors.OutOfBoundsDatetime):  # the year 1 is Go's zero time
        kept = found.where(found.dt.year.between(1971, 2261))
        whole = kept.astype("datetime64[ns, UTC]")
    ns = whole.astype("int64").to_numpy()
    return pa.array(ns, mask=(whole.isna() | (ns < 0)).to_numpy())


def _of_decimals(column: pa.Array, unit: str | None) -> pa.Array:
    """Read fractions without what a double loses of nineteen digits."""
    values = pd.to_numeric(column.to_pandas(), errors="coerce").to_numpy(np.float64)
    factor = UNITS[unit or unit_of_size(values)]
    found: list[int | None] = []
    for text in column.to_pylist():
        try:
            ns = int(Decimal(text) * factor) if text else None
        except (InvalidOperation, ValueError, OverflowError):
            ns = None
        found.append(ns if ns is not None and abs(ns) <= _MOST_NS else None)
    return pa.array(found, pa.int64())
