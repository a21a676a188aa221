"""What does a claim's number rest on: was it counted, measured, or put in by a latency profile?

Queries, hits and failures are counted. Times and shares of times are measured, but under a profile
that emulates a slow model or database most of a time may be the profile's own: such a number says
that the profile did what it was told, and nothing of any other service. The emulated share is that
of the time that the number is about, with all that runs inside it, from ``findings["emulated"]``.

Answer of ``rests_on``: counted, measured or emulated; and the emulated share, none where nothing
was emulated or the number is no time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COUNTED, MEASURED, EMULATED = "counted", "measured", "emulated"

MOSTLY = 0.5
"""From this share on a time is called emulated: more of it was put in than measured."""

WORTH_SAYING = 0.0005
"""A smaller emulated share is written as none."""

Record = Mapping[str, Any]


def rests_on(document: Record, kind: str, row: Record) -> tuple[str, float | None]:
    """What the number of one row of the findings rests on.

    ``kind`` is the quantity's own: counted; or the time of which it is, that of an operation, of a
    statement, of a collection's queries or of the request, in the row's arm or (``before``) in the
    baseline, which is where a saving is made.
    """
    if kind == COUNTED:
        return COUNTED, None
    what, _, before = kind.partition(" ")
    arm = document["run"]["baseline"] if before else row.get("arm")
    emulated = document.get("emulated") or {}
    if what == "request":
        share = _share(emulated.get("rows"), arm=arm, operation=None)
    elif what == "queries":
        share = _of_queries(document, emulated, arm, row.get("collection"))
    else:
        operation = row.get("statement") if what == "statement" else row.get("operation")
        which = row.get("which") if not before else None
        wanted = which if which in ("hits", "misses") else "all"
        share = _share(emulated.get("wholes"), arm=arm, operation=operation, which=wanted)
    if share is None or share < WORTH_SAYING:
        return MEASURED, None
    return (EMULATED if share >= MOSTLY else MEASURED), share


def _share(rows: Any, **wanted: object) -> float | None:  # noqa: ANN401 - findings are JSON
    """The emulated share of the first row that holds what is wanted."""
    for row in rows or ():
        if all(row.get(key) == value for key, value in wanted.items()):
            return None if row["share"] is None else float(row["share"])
    return None


def _of_queries(document: Record, emulated: Record, arm: Any, collection: Any) -> float | None:  # noqa: ANN401 - findings are JSON
    """The emulated share of the time of all queries of a collection; of none, of all queries."""
    names = {
        row["statement"]
        for row in document["load"]["statements"]
        if row["arm"] == arm and collection in (None, row["collection"])
    }
    rows = [
        row
        for row in emulated.get("wholes") or ()
        if row["arm"] == arm and row["operation"] in names and row["which"] == "all"
    ]
    added = sum(row["emulated_ms"] * row["spans"] for row in rows)
    whole = sum(row["emulated_ms"] * row["spans"] / row["share"] for row in rows if row["share"])
    return added / whole if whole else None
