"""Which arm is under load when? The file of ``worthit record --schedule``.

TOML (``[[block]]`` tables), JSON (a list of objects) or CSV (a header line), found by the file's
name. Each block has ``arm`` (empty: nothing is measured, such as while a service starts),
optionally ``block`` (its number), and either ``seconds``, one block after the other from the
recording's start, or ``start`` and ``end``: seconds from the recording's start, or date-times with
a time zone (2026-11-30T16:02:19Z).
"""

from __future__ import annotations

import csv
import json
import tomllib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from worthit.contract.marks import Mark
from worthit.errors import UsageError

NS_PER_S: Final = 10**9

ACCEPTED: Final = (
    "give each block arm, optionally block, and either seconds or start and end (seconds from the"
    " recording's start, or date-times with a zone), in .toml ([[block]]), .json (a list) or .csv"
)


def _none_if_empty(value: object) -> object:
    """Empty cells of CSV are cells without a value."""
    return None if isinstance(value, str) and not value.strip() else value


Moment = float | datetime
_Number = Annotated[int, Field(ge=0)]
_Length = Annotated[float, Field(gt=0)]


class _Row(BaseModel):
    """One block as the file has it."""

    model_config = ConfigDict(extra="forbid")

    arm: Annotated[str | None, BeforeValidator(_none_if_empty)] = None
    block: Annotated[_Number | None, BeforeValidator(_none_if_empty)] = None
    seconds: Annotated[_Length | None, BeforeValidator(_none_if_empty)] = None
    start: Annotated[Moment | None, BeforeValidator(_none_if_empty)] = None
    end: Annotated[Moment | None, BeforeValidator(_none_if_empty)] = None

    @model_validator(mode="after")
    def _has_one_time(self) -> Self:
        by_length = self.seconds is not None
        given = (self.start is not None, self.end is not None)
        if (by_length and any(given)) or (not by_length and not all(given)):
            raise ValueError("it needs either seconds, or both start and end")
        for moment in (self.start, self.end):
            if isinstance(moment, datetime) and moment.tzinfo is None:
                raise ValueError("its date-time has no time zone")
        if self.block is not None and self.arm is None:
            raise ValueError("its block has no arm")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The blocks of a recording, told beforehand."""

    rows: tuple[_Row, ...]

    def marks(self, t0_ns: int) -> list[Mark]:
        """Give the moments of a recording that began at `t0_ns`.

        Raises
        ------
        UsageError
            Two blocks overlap, or one ends before it begins.
        """
        found: list[Mark] = []
        at_ns = t0_ns
        for number, row in enumerate(self.rows, start=1):
            start_ns, end_ns = at_ns, at_ns
            if row.seconds is not None:
                end_ns += round(row.seconds * NS_PER_S)
            elif row.start is not None and row.end is not None:
                start_ns, end_ns = _ns(row.start, t0_ns), _ns(row.end, t0_ns)
            if end_ns <= start_ns or (start_ns < at_ns and found):
                raise UsageError(
                    f"Block {number} of the schedule begins before the one above it ends, or ends"
                    " before it begins; give the blocks in order of time."
                )
            if found and found[-1].t_ns == start_ns:
                found.pop()  # the end of the one above: this one begins there
            found.append(Mark(t_ns=start_ns, arm=row.arm, block=row.block))
            found.append(Mark(t_ns=end_ns, arm=None))
            at_ns = end_ns
        return found

    def end_ns(self, t0_ns: int) -> int:
        """Give the moment at which the last block ends."""
        return max(mark.t_ns for mark in self.marks(t0_ns))


def read_schedule(file: Path) -> Schedule:
    """Read and check a schedule.

    Raises
    ------
    UsageError
        The file cannot be read, or a block in it cannot be.
    """
    try:
        rows = _rows(file)
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UsageError(f"The schedule {file} cannot be read ({reason}); {ACCEPTED}.") from error
    if not rows:
        raise UsageError(f"The schedule {file} has no block; {ACCEPTED}.")
    found = []
    for number, row in enumerate(rows, start=1):
        try:
            found.append(_Row.model_validate(row))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            told = first["msg"].removeprefix("Value error, ")
            raise UsageError(
                f"Block {number} of the schedule {file}: {f'{where}: ' if where else ''}{told};"
                f" {ACCEPTED}."
            ) from error
    schedule = Schedule(rows=tuple(found))
    if not any(row.arm for row in found):
        raise UsageError(f"No block of the schedule {file} names an arm; {ACCEPTED}.")
    schedule.marks(0)
    return schedule


def _rows(file: Path) -> list[Any]:
    """Give the file's blocks as they stand there; raises ValueError where there are none."""
    if file.suffix == ".csv":
        with file.open(encoding="utf-8-sig", newline="") as lines:
            return list(csv.DictReader(lines, skipinitialspace=True))
    text = file.read_text(encoding="utf-8-sig")
    if file.suffix == ".json":
        rows = json.loads(text)
    elif file.suffix == ".toml":
        rows = tomllib.loads(text).get("block", [])
    else:
        raise ValueError(f"its name ends in {file.suffix or 'nothing'}")
    if not isinstance(rows, list):
        raise ValueError("it is no list of blocks")  # noqa: TRY004 - of the file, not of a caller
    return rows


def _ns(moment: Moment, t0_ns: int) -> int:
    if isinstance(moment, datetime):
        return round(moment.timestamp() * NS_PER_S)
    return t0_ns + round(moment * NS_PER_S)
