"""Rows of an answer as a table that is read: each cell written by what it is.

A column is made of a label and of a function that takes the cell's value from a row::

    tabulate(
        answer.rows,
        (
            words("Arm", lambda row: row.arm),
            estimates("Failed", lambda row: row.failed),
            exact("Requests", lambda row: row.requests, why=COUNTED),
        ),
        "Failed and refused requests",
    )
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from analysis.document import formatting
from analysis.document.document import Column, Table, Tone
from analysis.document.estimates import text
from analysis.stats.intervals import Estimate

Row = TypeVar("Row")

COUNTED = "counted in this run, every one"
SET = "set, not measured"
OBSERVED = "seen in this run, not estimated"
PLANNED = "a plan made from this run's scatter"
FITTED = "one fit, its error not known"
"""Why a number stands there without an interval; others are written where they are needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field(Generic[Row]):
    """A column: its heading and how to write a row's cell."""

    column: Column
    write: Callable[[Row], str]


def words(
    label: str,
    of: Callable[[Row], object],
    *,
    missing: str = formatting.MISSING,
    code: bool = False,
) -> Field[Row]:
    """A column of text; ``missing`` stands where there is none."""

    def write(row: Row) -> str:
        cell = of(row)
        return missing if cell is None else str(cell)

    return Field(column=Column(label=label, code=code), write=write)


def estimates(label: str, of: Callable[[Row], Estimate | None]) -> Field[Row]:
    """A column of estimates with their intervals."""
    return Field(column=Column(label=label, numeric=True), write=lambda row: text(of(row)))


def exact(
    label: str,
    of: Callable[[Row], float | None],
    unit: str = "count",
    *,
    why: str,
    sample: bool = False,
) -> Field[Row]:
    """A column of numbers without interval; ``why`` says why they have none.

    ``sample`` marks how many requests, spans or calls the estimates beside it rest on.
    """
    return Field(
        column=Column(label=label, numeric=True, without=why, sample=sample),
        write=lambda row: formatting.plain(of(row), unit),
    )


def sample_sizes(of: Callable[[Row], Estimate], label: str = "n") -> Field[Row]:
    """A column of how many requests, spans or calls an estimate rests on."""
    return Field(
        column=Column(label=label, numeric=True, without=COUNTED, sample=True),
        write=lambda row: formatting.count(of(row).n or None),
    )


def tabulate(
    rows: Iterable[Row], fields: Iterable[Field[Row]], caption: str, tones: Iterable[Tone] = ()
) -> Table:
    """Make the table; a column in which no row has anything is left out."""
    listed = list(rows)
    kept, cells = [], []
    for field in fields:
        written = [field.write(row) for row in listed]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Abreast(Generic[Row]):
    """The rows of several arms about one thing, so that the eye compares along a line."""

    first: Row
    """Any of them: what they are about is the same."""
    by_arm: Mapping[str | None, Row]
    """Each arm's row; an arm that has none is absent."""


def abreast(
    rows: Iterable[Row],
    key: Callable[[Row], Hashable],
    arm: Callable[[Row], str | None],
) -> list[Abreast[Row]]:
    """Put the rows that share ``key`` side by side, in the order of their first."""
    joined: dict[Hashable, dict[str | None, Row]] = {}
    for row in rows:
        joined.setdefault(key(row), {})[arm(row)] = row
    return [Abreast(first=next(iter(arms.values())), by_arm=arms) for arms in joined.values()]


def fits_abreast(arms: Sequence[object]) -> bool:
    """Whether so many arms are put side by side: one has no side, too many no room."""
    return 1 < len(arms) <= MAX_ARMS_ABREAST


def of_first(field: Field[Row]) -> Field[Abreast[Row]]:
    """A column about what all the arms of a line share."""
    return Field(column=field.column, write=lambda line: field.write(line.first))


def per_arm(
    field: Field[Row], arms: Iterable[tuple[str | None, str]]
) -> tuple[Field[Abreast[Row]], ...]:
    """The same column once for each arm: ``arms`` are names with their labels."""

    def column(name: str | None, label: str) -> Field[Abreast[Row]]:
        def write(line: Abreast[Row]) -> str:
            row = line.by_arm.get(name)
            return formatting.MISSING if row is None else field.write(row)

        return Field(
            column=replace(field.column, label=f"{field.column.label}, {label}"), write=write
        )

    return tuple(column(name, label) for name, label in arms)
