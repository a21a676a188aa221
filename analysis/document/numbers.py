"""Estimates as ``findings.json`` holds them, read back.

A number with its interval, n, blocks and reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from analysis.document import formatting


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One estimate. ``value`` is None when there is none; ``reason`` then says why."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = "count"
    n: int = 0
    blocks: int = 0
    reason: str | None = None
    method: str = ""

    @property
    def text(self) -> str:
        """Value, unit and interval, as ``20.1x [18.4, 21.9]``.

        Says so when there is no interval.
        """
        return formatting.estimate(self.value, self.low, self.high, self.unit)

    @property
    def point(self) -> str:
        """Value and unit alone, with the digits that the interval supports."""
        return formatting.point(self.value, self.low, self.high, self.unit)

    @property
    def is_known(self) -> bool:
        """Whether there is a value."""
        return not formatting.is_missing(self.value)

    @property
    def is_bound(self) -> bool:
        """Whether nothing but "at least ``low``" is known."""
        return not self.is_known and self.low is not None

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval."""
        return self.is_known and self.low is not None and self.high is not None


def inverse(ratio: Number) -> Number:
    """1 over a ratio, the ends exchanged: 0.8 times fewer is 1.25 times more."""
    ends = [1.0 / end if end else None for end in (ratio.value, ratio.high, ratio.low)]
    return replace(ratio, value=ends[0], low=ends[1], high=ends[2])


NOTHING = Number()
"""What stands where findings have no such number."""


def number(cell: object) -> Number:
    """Read one cell of the findings.

    Anything but an estimate or a plain number gives ``NOTHING``.
    """
    if isinstance(cell, Mapping):
        known = {
            name: cell[name] for name in Number.__dataclass_fields__ if cell.get(name) is not None
        }
        return Number(**known)
    if isinstance(cell, int | float) and not isinstance(cell, bool) and math.isfinite(cell):
        return Number(value=float(cell))
    return NOTHING


def number_in(record: Mapping[str, Any], key: str, unit: str = "count") -> Number:
    """Read ``key`` of a record: an estimate.

    Or a plain number with its interval in ``key_low`` and ``key_high``.
    """
    cell = record.get(key)
    if isinstance(cell, Mapping):
        return number(cell)
    value = number(cell).value
    low, high = (number(record.get(f"{key}_{end}")).value for end in ("low", "high"))
    return Number(value=value, low=low, high=high, unit=unit, n=int(record.get("n") or 0))


def frame(records: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> pd.DataFrame:
    """Rows of findings as a flat table for a figure.

    An estimate ``x`` becomes ``x``, ``x_low``, ``x_high``; a column that no row has is all
    missing.
    """
    names = list(columns)
    rows = []
    for record in records:
        row: dict[str, Any] = {}
        for name in names:
            cell = record.get(name)
            if isinstance(cell, Mapping):
                estimate = number(cell)
                row |= {
                    name: estimate.value,
                    f"{name}_low": estimate.low,
                    f"{name}_high": estimate.high,
                }
            else:
                row[name] = cell
        rows.append(row)
    table = pd.DataFrame(rows)
    wanted = [column for name in names for column in (name, f"{name}_low", f"{name}_high")]
    return table.reindex(columns=[*dict.fromkeys([*table.columns, *wanted])])
