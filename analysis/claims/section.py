"""Which claims hold in this run?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analysis.claims.ledger import Decision, LedgerRow
from analysis.document import formatting
from analysis.document.document import Section, Table, Tone
from analysis.document.tables import COUNTED, Field, estimates, exact, tabulate, words
from analysis.questions.findings import Findings

QUESTION = "Which claims hold?"

_TONES: dict[Decision, Tone] = {
    "holds": Tone.GOOD,
    "does not hold": Tone.BAD,
    "not decided": Tone.DOUBT,
}


def section(findings: Findings) -> Section | None:
    """The ledger: a row a claim, with estimate, interval, n, and what would decide it."""
    ledger = findings.claims
    if ledger is None or not ledger.claims:
        return None
    rows = ledger.claims
    said = ", ".join(f"{count} {_plural(one, count)}" for one, count in ledger.counts.items())
    measured = [row for row in rows if row.is_measured]
    tables = [_measured(measured, ledger.file)] if measured else []
    noted = [row for row in measured if row.note]
    tables += [_put_right(noted)] if noted else []
    return Section(
        key="claims",
        question=QUESTION,
        answer=f"Of {len(rows)} claims {said}.",
        reading=(
            "A claim holds when its whole 95 % interval lies within what was claimed, and does not"
            " hold when all of it lies outside, as far as all claims together allow (Holm: at most"
            " 5 % of ledgers hold any false verdict). In between nothing is decided."
        ),
        sample=(
            f"{len(measured)} of {len(rows)} claims are about something that this run measured."
        ),
        tables=tuple(tables),
        emulated=_about_emulated(measured),
    )


def elsewhere(findings: Findings) -> Section | None:
    """The claims that another experiment is for."""
    ledger = findings.claims
    others = [row for row in ledger.claims if not row.is_measured] if ledger else []
    if ledger is None or not others:
        return None
    noted = [row for row in others if row.note]
    return Section(
        key="claims-elsewhere",
        question="Which claims are for another experiment?",
        answer=(
            f"{len(others)} of {len(ledger.claims)} claims are about something that this run did"
            " not measure."
        ),
        tables=(_elsewhere(others), *([_put_right(noted)] if noted else [])),
    )


def _about_emulated(rows: Sequence[LedgerRow]) -> str:
    """How many claims are about times that the run itself was told to take."""
    put_in = sum(row.rests_on == "emulated" for row in rows)
    if not put_in:
        return ""
    verb = "is" if put_in == 1 else "are"
    return (
        f"{put_in} of {len(rows)} {verb} about emulated time: the latency profile was told to take"
        " so long. They say that it did, and nothing of a service of your own."
    )


def _evidence(row: LedgerRow) -> str | None:
    """Counted, measured, or how much of it was put in."""
    if row.rests_on is None or row.emulated_share is None:
        return row.rests_on
    part = f"{formatting.plain(row.emulated_share, 'share')} emulated"
    return part if row.rests_on == "emulated" else f"{row.rests_on}, {part}"


def _measured(rows: Sequence[LedgerRow], file: str) -> Table:
    """The claims that this run has a number for."""
    fields: tuple[Field[LedgerRow], ...] = (
        words("Claim", lambda row: row.text),
        words("Verdict", lambda row: row.verdict),
        estimates("Measured", lambda row: row.estimate),
        words("Evidence", _evidence),
        exact("n", lambda row: row.n, why=COUNTED, sample=True),
        words("What would decide it", lambda row: row.would_decide, missing=""),
    )
    tones = [_TONES[row.verdict] for row in rows]
    table = tabulate(rows, fields, f"Claims of {file} that this run measured", tones)
    return replace(table, folded=False)


def _elsewhere(rows: Sequence[LedgerRow]) -> Table:
    """The claims that another experiment is for."""
    fields: tuple[Field[LedgerRow], ...] = (
        words("Claim", lambda row: row.text),
        words("Why not here", lambda row: row.sentence),
        words("What would decide it", lambda row: row.would_decide),
    )
    tones = [Tone.DOUBT] * len(rows)
    return tabulate(rows, fields, f"{len(rows)} claims that this run does not measure", tones)


def _put_right(rows: Sequence[LedgerRow]) -> Table:
    """What had to be said of a claim before it could be tested."""
    fields: tuple[Field[LedgerRow], ...] = (
        words("Claim", lambda row: row.text),
        words("Note", lambda row: row.note),
    )
    return tabulate(
        rows, fields, f"Notes on {len(rows)} claims: units put right, and what is meant"
    )


def _plural(verdict: Decision, count: int) -> str:
    """The verdict as a verb that fits the count."""
    if count == 1:
        return {"not decided": "is not decided"}.get(verdict, verdict)
    return {"holds": "hold", "does not hold": "do not hold", "not decided": "are not decided"}[
        verdict
    ]
