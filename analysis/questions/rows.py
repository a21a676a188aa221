"""How does a table of answers become JSON, or plain columns?

Questions give tables whose cells may be an ``Estimate``. ``records`` turns such a table into what
findings.json holds; ``flat`` into plain numeric columns, for notebooks and terminals.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, TypeVar, get_type_hints

import pandas as pd

from analysis.stats.intervals import Estimate

Row = TypeVar("Row")


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One JSON object a row; estimates become objects, missing values null."""
    rows = table.astype("object").to_dict("records")
    return [{str(name): plain(cell) for name, cell in row.items()} for row in rows]


def typed(table: pd.DataFrame, row: type[Row]) -> tuple[Row, ...]:
    """A table's rows as values of this type: for tables that pandas has made."""
    hints = get_type_hints(row)
    return tuple(
        row(**{str(name): _cell(cell, hints[str(name)]) for name, cell in cells.items()})
        for cells in table.astype("object").to_dict("records")
    )


def _cell(cell: Any, hint: Any) -> Any:  # noqa: ANN401 - a cell is anything
    if cell is None or cell is pd.NA or cell is pd.NaT:
        return None
    if hasattr(cell, "item"):
        cell = cell.item()
    if isinstance(cell, float):
        if math.isnan(cell) and hint is not float:
            return None
        if hint in (int, int | None):
            return int(cell)
    return cell


def rows_of(rows: Iterable[Any]) -> list[dict[str, Any]]:
    """``records`` of typed rows."""
    return [{field.name: plain(getattr(row, field.name)) for field in fields(row)} for row in rows]


def plain(cell: Any) -> Any:  # noqa: ANN401 - a cell holds anything that JSON can
    """One value as JSON holds it."""
    if isinstance(cell, Estimate):
        return cell.as_dict()
    if isinstance(cell, dict):
        return {str(key): plain(value) for key, value in cell.items()}
    if isinstance(cell, list | tuple):
        return [plain(value) for value in cell]
    if cell is None or cell is pd.NA or cell is pd.NaT:
        return None
    if hasattr(cell, "item"):
        cell = cell.item()
    if isinstance(cell, float) and not math.isfinite(cell):
        return None
    return cell


def flat(table: pd.DataFrame) -> pd.DataFrame:
    """Each estimate column ``x`` becomes ``x``, ``x_low``, ``x_high`` and ``x_reason``."""
    columns: dict[str, pd.Series] = {}
    for name in table.columns:
        cells = list(table[name])
        if not any(isinstance(cell, Estimate) for cell in cells):
            columns[str(name)] = table[name]
            continue
        for suffix, field in (
            ("", "value"),
            ("_low", "low"),
            ("_high", "high"),
            ("_reason", "reason"),
        ):
            values = [getattr(cell, field, None) for cell in cells]
            columns[f"{name}{suffix}"] = pd.Series(values, index=table.index)
    return pd.DataFrame(columns)
