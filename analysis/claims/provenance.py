"""Where does a claim's number come from: was it counted, measured, or put in by a latency profile?

Queries, hits and failures are counted. Times and shares of times are measured, but under a profile
that emulates a slow model or database most of a time may be the profile's own: such a number says
that the profile did what it was told, and nothing of any other service. The emulated share is that
of the time that the number is about, with all that runs inside it, from the answer ``Emulated``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from analysis.claims.ledger import Kind
from analysis.questions.database_load.answer import DatabaseLoad
from analysis.questions.emulated import Emulated, EmulatedRow, WholeRow
from analysis.questions.findings import Findings

MOSTLY = 0.5
"""From this share on a time is called emulated: more of it was put in than measured."""

WORTH_SAYING = 0.0005
"""A smaller emulated share is written as none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a number comes from."""

    kind: Kind
    emulated_share: float | None = None
    """Of the time that it is about; none where nothing was emulated or it is no time."""


COUNTED = Provenance(kind="counted")


def of_request(found: Findings, arm: str | None) -> Provenance:
    """The provenance of a time of whole requests."""
    rows = found.of(Emulated).rows
    return _timed(_share(row for row in rows if row.arm == arm and row.operation is None))


def of_operation(
    found: Findings, arm: str | None, operation: str, which: str = "all"
) -> Provenance:
    """The provenance of a time of an operation; ``which`` may be its hits or misses alone."""
    wanted = which if which in ("hits", "misses") else "all"
    rows = (
        row
        for row in found.of(Emulated).wholes
        if row.arm == arm and row.operation == operation and row.which == wanted
    )
    return _timed(_share(rows))


def of_queries(found: Findings, arm: str | None, collection: str | None) -> Provenance:
    """The provenance of the time of all queries of a collection; of none, of all queries."""
    names = {
        row.statement
        for row in found.of(DatabaseLoad).statements
        if row.arm == arm and collection in (None, row.collection)
    }
    rows = [
        row
        for row in found.of(Emulated).wholes
        if row.arm == arm and row.operation in names and row.which == "all"
    ]
    added = sum(row.emulated_ms * row.spans for row in rows)
    whole = sum(row.emulated_ms * row.spans / row.share for row in rows if row.share)
    return _timed(added / whole if whole else None)


def _share(rows: Iterable[EmulatedRow | WholeRow]) -> float | None:
    """The emulated share of the first row."""
    return next((row.share for row in rows), None)


def _timed(share: float | None) -> Provenance:
    if share is None or share < WORTH_SAYING:
        return Provenance(kind="measured")
    return Provenance(kind="emulated" if share >= MOSTLY else "measured", emulated_share=share)
