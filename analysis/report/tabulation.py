"""Rows of findings as a table that is read: each cell formatted by what it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis import formatting
from analysis.report.document import Column, Table, Tone
from analysis.report.numbers import number, number_in

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A column: its heading and how to make a cell of it from a record."""

    column: Column
    write: Callable[[Record], str]


def words(label: str, key: str, *, missing: str = formatting.MISSING, code: bool = False) -> Field:
    """A column of text; ``missing`` stands where there is none."""

    def write(record: Record) -> str:
        cell = record.get(key)
        return missing if cell is None else str(cell)

    return Field(column=Column(label=label, code=code), write=write)


def estimates(label: str, key: str, unit: str = "count") -> Field:
    """A column of estimates with their intervals; ``unit`` is for those that do not carry one."""
    return Field(
        column=Column(label=label, numeric=True),
        write=lambda record: number_in(record, key, unit).text,
    )


def plain_numbers(label: str, key: str, unit: str = "count") -> Field:
    """A column of exact numbers, such as an offered rate, that have no interval."""
    return Field(
        column=Column(label=label, numeric=True),
        write=lambda record: formatting.plain(number(record.get(key)).value, unit),
    )


def sample_sizes(key: str, label: str = "n") -> Field:
    """A column of how many requests, spans or calls the estimate ``key`` rests on."""
    return Field(
        column=Column(label=label, numeric=True),
        write=lambda record: formatting.count(number(record.get(key)).n or None),
    )


def tabulate(
    records: Iterable[Record], fields: Iterable[Field], caption: str, tones: Iterable[Tone] = ()
) -> Table:
    """Make the table; a column in which no row has anything is left out."""
    rows = list(records)
    kept, cells = [], []
    for field in fields:
        written = [field.write(row) for row in rows]
        if any(cell != formatting.MISSING for cell in written):
            kept.append(field.column)
            cells.append(written)
    return Table(
        caption=caption,
        columns=tuple(kept),
        rows=tuple(zip(*cells, strict=True)) if cells else (),
        tones=tuple(tones),
    )


MAX_ARMS_ABREAST = 3
"""More arms than this stand below each other: side by side no screen holds them."""


def by_arm(
    records: Iterable[Record], key: Sequence[str], arms: Sequence[tuple[str | None, str]]
) -> tuple[list[Record], bool]:
    """Put the arms of one thing into one row, so that the eye compares along a line.

    Cells get the names ``x@arm``. With one arm or too many the rows stay as they are; the second
    value says whether they were joined.
    """
    rows = list(records)
    if not 1 < len(arms) <= MAX_ARMS_ABREAST:
        return rows, False
    joined: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        place = tuple(row.get(name) for name in key)
        kept = joined.setdefault(place, {name: row.get(name) for name in key})
        kept |= {f"{name}@{row.get('arm')}": cell for name, cell in row.items()}
    return list(joined.values()), True


def abreast(
    make: Callable[[str, str], Field],
    label: str,
    key: str,
    arms: Sequence[tuple[str | None, str]],
) -> tuple[Field, ...]:
    """Make one column an arm of what ``by_arm`` has joined."""
    return tuple(make(f"{label}, {name}", f"{key}@{arm}") for arm, name in arms)
