"""What became of claims: the rows of a ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from analysis.stats.intervals import Estimate

Decision = Literal["holds", "does not hold", "not decided"]

Kind = Literal["counted", "measured", "emulated"]
"""How a number was come by."""

DECISIONS: tuple[Decision, ...] = get_args(Decision)
"""All of them, in the order in which they are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """One claim and what a run says of it."""

    id: str
    text: str
    verdict: Decision
    sentence: str
    quantity: str
    scope: Mapping[str, str | int | float]
    comparison: str
    limits: tuple[float | None, float | None]
    """Within which the quantity must lie; None is no limit."""
    estimate: Estimate | None
    """None when the run does not measure it."""
    rests_on: Kind | None
    """Whether the number was counted, measured or put in by a latency profile."""
    emulated_share: float | None
    """Of the time that the number is about."""
    n: int | None
    would_decide: str | None
    """What to do about a claim that is not decided."""
    note: str

    @property
    def is_measured(self) -> bool:
        """Whether the run has a number for it."""
        return self.estimate is not None and (self.estimate.is_known or self.estimate.is_bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Claims that were held against a run."""

    file: str
    """The files that they stand in."""
    counts: Mapping[Decision, int]
    claims: tuple[LedgerRow, ...]


def ledger(file: str, rows: tuple[LedgerRow, ...]) -> Ledger:
    """The rows with how many claims got which verdict."""
    counts = {one: sum(row.verdict == one for row in rows) for one in DECISIONS}
    return Ledger(file=file, counts=counts, claims=rows)
