"""After a run: write its report, check what was claimed, and give the lines that matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.commands import ledger
from harness.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a finished run answers."""

    report: Path
    sentences: tuple[str, ...]
    """The headline; empty when the run is INVALID."""
    claims: tuple[dict[str, Any], ...]
    """Each claim with its verdict, one table a claim."""
    thresholds: tuple[dict[str, Any], ...]
    """Each threshold with what was observed and whether it is kept."""

    @property
    def broken(self) -> list[str]:
        """The claims that do not hold and the thresholds that are not kept, as sentences."""
        from analysis.claims import DOES_NOT_HOLD  # noqa: PLC0415 - pandas, which --help never needs

        found = [
            f"Claim {claim['id']} does not hold: {claim['sentence']}"
            for claim in self.claims
            if claim["verdict"] == DOES_NOT_HOLD
        ]
        return found + [
            f"Threshold not kept: {row['threshold']}; observed {row['observed']:g}"
            for row in self.thresholds
            if not row["within"]
        ]


def answer(
    run: Path, *, claim_files: Sequence[Path] = (), thresholds: Sequence[str] = ()
) -> Answers:
    """Write the report of `run`, and hold its claims and thresholds against it."""
    from analysis import claims  # noqa: PLC0415 - pandas and matplotlib, which --help never needs
    from analysis import thresholds as limits  # noqa: PLC0415 - as above
    from analysis.findings import findings  # noqa: PLC0415 - as above
    from analysis.queries import per_request  # noqa: PLC0415 - as above
    from analysis.report import assembly, writing  # noqa: PLC0415 - as above
    from analysis.run import open_run  # noqa: PLC0415 - as above
    from analysis.shares import request_shares  # noqa: PLC0415 - as above

    opened = open_run(run)
    found = findings(opened)
    found = ledger.with_claims(found, list(claim_files) or ledger.claim_files(opened.manifest))
    report = writing.write(assembly.assemble(opened, found), found, run)
    trusted = found["verdict"]["verdict"] != "INVALID"
    rows = [
        row
        for file in claim_files
        for row in claims.check(claims.read(file), found)["claims"]
        if trusted
    ]
    kept: list[dict[str, Any]] = []
    if thresholds and trusted:
        table = limits.evaluate(
            [limits.parse(text) for text in thresholds],
            requests=opened.measured_requests,
            shares=request_shares(opened.measured_spans),
            queries=per_request(opened.measured_spans),
        )
        kept = [{str(key): cell for key, cell in row.items()} for row in table.to_dict("records")]
    headline = found["headline"]
    return Answers(
        report=report,
        sentences=tuple(headline["sentences"]) if headline else (),
        claims=tuple(rows),
        thresholds=tuple(kept),
    )


def check_before_running(claim_files: Sequence[Path], thresholds: Sequence[str]) -> None:
    """Refuse claims and thresholds that cannot be read before minutes are spent on a run.

    Raises
    ------
    UsageError
        A file of claims is missing.
    InputError
        A claim or a threshold cannot be understood.
    """
    if not claim_files and not thresholds:
        return
    from analysis import claims  # noqa: PLC0415 - pandas, which --help never needs
    from analysis import thresholds as limits  # noqa: PLC0415 - as above

    for file in claim_files:
        if not file.is_file():
            raise UsageError(f"The experiment names claims in {file}, and there is no such file.")
        claims.read(file)
    for text in thresholds:
        limits.parse(text)
