"""Which claims hold in this run?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.report.document import Section, Tone
from analysis.report.numbers import number
from analysis.report.tabulation import estimates, plain_numbers, tabulate, words

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
    fields = (
        words("Claim", "text"),
        words("Verdict", "verdict"),
        estimates("Measured", "estimate"),
        plain_numbers("n", "n"),
        words("Why", "sentence"),
        words("What would decide it", "would_decide"),
        words("Put right", "note", missing=""),
    )
    tones = [_TONES.get(str(row.get("verdict")), Tone.PLAIN) for row in rows]
    return Section(
        key="claims",
        question=QUESTION,
        answer=f"Of {len(rows)} claims {said}.",
        reading=(
            "A claim holds when its whole 95 % interval lies within what was claimed, and does not"
            " hold when all of it lies outside. In between nothing is decided."
        ),
        sample=(
            f"{len([row for row in rows if number(row.get('estimate')).is_known])} of them "
            "were measured in this run."
        ),
        tables=(tabulate(rows, fields, f"From {ledger.get('file') or 'the experiment'}", tones),),
    )


def _plural(verdict: str, count: int) -> str:
    """The verdict as a verb that fits the count."""
    if count == 1:
        return {"not decided": "is not decided"}.get(verdict, verdict)
    return {"holds": "hold", "does not hold": "do not hold", "not decided": "are not decided"}.get(
        verdict, verdict
    )
