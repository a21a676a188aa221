"""Rows of findings as a table that is read: each cell formatted by what it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.document import formatting
from analysis.document.document import Column, Table, Tone
from analysis.document.numbers import number, number_in

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


COUNTED = "counted in this run, every one"
SET = "set, not measured"
OBSERVED = "seen in this run, not estimated"
PLANNED = "a plan made from this run's scatter"
FITTED = "one fit, its error not known"

WITHOUT_INTERVAL: Mapping[str, str] = {
    **dict.fromkeys(("offered_per_s", "rate_per_s", "step", "margin"), SET),
    **dict.fromkeys(("arrivals_planned", "arrivals_sent", "dropped", "achieved_per_s"), COUNTED),
    **dict.fromkeys(("lookups", "keys", "waits", "count", "n", "pairs", "requests"), COUNTED),
    **dict.fromkeys(("queries_per_request", "saves_queries_per_request", "per_lookup"), COUNTED),
    **dict.fromkeys(("hit_ratios", "in_flight", "queries_saved_at_most"), COUNTED),
    **dict.fromkeys(("lag_p50_ms", "lag_p99_ms", "lag_max_ms"), OBSERVED),
    **dict.fromkeys(("in_flight_max", "longest_ms"), OBSERVED),
    **dict.fromkeys(("unpaired_requests", "unpaired_seconds", "smallest_unpaired"), PLANNED),
    **dict.fromkeys(("paired_requests", "paired_seconds", "smallest_paired"), PLANNED),
    **dict.fromkeys(("alpha", "beta", "peak_in_flight"), FITTED),
    "change": "the size that is asked about",
    "critical_ms": "the share beside it, in milliseconds",
    "emulated": "added up from the spans' own marks",
    "moves": "follows from the count beside it",
    "connections_needed": "Erlang's formula at the row's busy connections",
    "p_value": "says by itself how sure the answer is",
}
"""Why a number is shown without an interval, by its name in the findings.

A number that is not listed here cannot be put into a table but as an estimate."""

_SAMPLES = frozenset({"n", "lookups", "waits", "count", "pairs", "requests"})
"""Those that the estimates beside them rest on."""


def plain_column(label: str, key: str) -> Column:
    """A column of numbers without interval, which says why; ``key`` may name an arm after an @."""
    name = key.partition("@")[0]
    return Column(
        label=label, numeric=True, without=WITHOUT_INTERVAL[name], sample=name in _SAMPLES
    )


def plain_numbers(label: str, key: str, unit: str = "count") -> Field:
    """A column of exact numbers, such as an offered rate, that have no interval."""
    return Field(
        column=plain_column(label, key),
        write=lambda record: formatting.plain(number(record.get(key)).value, unit),
    )


def sample_sizes(key: str, label: str = "n") -> Field:
    """A column of how many requests, spans or calls the estimate ``key`` rests on."""
    return Field(
        column=Column(label=label, numeric=True, without=COUNTED, sample=True),
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
