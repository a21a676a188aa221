"""Which claims hold in this run?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.document import formatting
from analysis.document.document import Column, Section, Table, Tone
from analysis.document.numbers import Number, number
from analysis.document.tabulation import Field, Record, estimates, plain_numbers, tabulate, words

QUESTION = "Which claims hold?"

_TONES = {"holds": Tone.GOOD, "does not hold": Tone.BAD, "not decided": Tone.DOUBT}


def section(findings: Mapping[str, Any]) -> Section | None:
    """The ledger: a row a claim, with estimate, interval, n, and what would decide it."""
    ledger = findings.get("claims") or {}
    rows = list(ledger.get("claims") or ())
    if not rows:
        return None
    counts = ledger.get("counts") or {}
    said = ", ".join(f"{count} {_plural(verdict, count)}" for verdict, count in counts.items())
    measured = [row for row in rows if _is_there(number(row.get("estimate")))]
    others = [row for row in rows if not _is_there(number(row.get("estimate")))]
    tables = [_measured(measured, str(ledger.get("file") or "the experiment"))] if measured else []
    tables += [_elsewhere(others)] if others else []
    noted = [row for row in rows if row.get("note")]
    tables += [_put_right(noted)] if noted else []
    return Section(
        key="claims",
        question=QUESTION,
        answer=f"Of {len(rows)} claims {said}.",
        reading=(
            "A claim holds when its whole 95 % interval lies within what was claimed, and does not"
            " hold when all of it lies outside. In between nothing is decided."
        ),
        sample=(
            f"{len(measured)} of {len(rows)} claims are about something that this run measured."
        ),
        tables=tuple(tables),
        emulated=_on_what_they_rest(measured),
    )


def _is_there(estimate: Number) -> bool:
    return estimate.is_known or estimate.is_bound


def _on_what_they_rest(rows: list[Record]) -> str:
    """How many claims are about times that the run itself was told to take."""
    put_in = sum(row.get("rests_on") == "emulated" for row in rows)
    if not put_in:
        return ""
    verb = "rests" if put_in == 1 else "rest"
    return (
        f"{put_in} of {len(rows)} {verb} on emulated time: the latency profile was told to take so"
        " long. They say that it did, and nothing of a service of your own."
    )


def _rests_on(row: Record) -> str:
    """Counted, measured, or how much of it was put in."""
    rests, share = row.get("rests_on"), number(row.get("emulated_share"))
    if rests is None or not share.is_known:
        return str(rests or formatting.MISSING)
    part = f"{formatting.plain(share.value, 'share')} emulated"
    return part if rests == "emulated" else f"{rests}, {part}"


def _measured(rows: list[Record], file: str) -> Table:
    """The claims that this run has a number for."""
    fields = (
        words("Claim", "text"),
        words("Verdict", "verdict"),
        estimates("Measured", "estimate"),
        Field(column=Column(label="Rests on"), write=_rests_on),
        plain_numbers("n", "n"),
        words("What would decide it", "would_decide", missing=""),
    )
    tones = [_TONES.get(str(row.get("verdict")), Tone.PLAIN) for row in rows]
    return tabulate(rows, fields, f"Claims of {file} that this run measured", tones)


def _elsewhere(rows: list[Record]) -> Table:
    """The claims that another experiment is for."""
    fields = (
        words("Claim", "text"),
        words("Why not here", "sentence"),
        words("What would decide it", "would_decide"),
    )
    tones = [Tone.DOUBT] * len(rows)
    return tabulate(rows, fields, f"{len(rows)} claims that this run does not measure", tones)


def _put_right(rows: list[Record]) -> Table:
    """What had to be said of a claim before it could be tested."""
    fields = (words("Claim", "text"), words("Note", "note"))
    return tabulate(
        rows, fields, f"Notes on {len(rows)} claims: units put right, and what is meant"
    )


def _plural(verdict: str, count: int) -> str:
    """The verdict as a verb that fits the count."""
    if count == 1:
        return {"not decided": "is not decided"}.get(verdict, verdict)
    return {"holds": "hold", "does not hold": "do not hold", "not decided": "are not decided"}.get(
        verdict, verdict
    )
