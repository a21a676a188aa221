"""After a run: write its report, check what was claimed, and give the lines that matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worthit.contract.thresholds import parse_all
from worthit.errors import UsageError
from worthit.experiments import catalogue

if TYPE_CHECKING:
    from analysis.claims.ledger import LedgerRow
    from analysis.questions.findings import Findings
    from analysis.rundir.manifest import Manifest
    from analysis.rundir.run import Run

SHIPPED = Path("claims/background.toml")
"""The claims of the write-up that the project grew from; they come along."""

SHIPPED_OPERATION = "personality.lookup"
"""The operation that they are about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a finished run answers."""

    report: Path
    sentences: tuple[str, ...]
    """The headline; empty when the run is INVALID."""
    claims: tuple[LedgerRow, ...]
    """Each claim with its verdict."""
    thresholds: tuple[dict[str, Any], ...]
    """Each threshold with what was observed, whether it is kept, and both in words."""

    @property
    def broken(self) -> list[str]:
        """The claims that do not hold and the thresholds that are not kept, as sentences.

        A threshold of which nothing can be said is not kept.
        """
        from analysis.claims.claims import DOES_NOT_HOLD  # noqa: PLC0415 - pandas, which --help never needs

        found = [
            f"Claim {claim.id} does not hold: {claim.sentence}"
            for claim in self.claims
            if claim.verdict == DOES_NOT_HOLD
        ]
        return found + [
            f"Threshold {row['threshold']} {row['verdict']}: {row['sentence']}"
            for row in self.thresholds
            if not row["within"]
        ]


def answer(
    run: Path, *, claim_files: Sequence[Path] = (), thresholds: Sequence[str] = ()
) -> Answers:
    """Write the report of `run`, and hold its claims and thresholds against it."""
    from analysis.claims import claims  # noqa: PLC0415 - pandas and matplotlib, which --help never needs
    from analysis.questions.asking import findings  # noqa: PLC0415 - as above
    from analysis.report import assembly, writing  # noqa: PLC0415 - as above
    from analysis.rundir.run import open_run  # noqa: PLC0415 - as above

    opened = open_run(run)
    found = findings(opened)
    found = with_claims(found, claims_of(opened.manifest, claim_files))
    report = writing.write(assembly.assemble(opened, found), found, run)
    read = [claims.read(file) for file in claim_files]
    return Answers(
        report=report,
        sentences=found.headline.sentences if found.headline else (),
        claims=claims.check(read, found).claims if read and not found.is_invalid else (),
        thresholds=() if found.is_invalid else tuple(_held(thresholds, opened)),
    )


def _held(thresholds: Sequence[str], run: Run) -> list[dict[str, Any]]:
    """Each threshold with what was observed of it; null where that is no number."""
    from analysis.claims import thresholds as limits  # noqa: PLC0415 - pandas, which --help never needs
    from analysis.stats.intervals import finite  # noqa: PLC0415 - as above

    table = limits.of_run(parse_all(thresholds), run)
    said = limits.claim_rows(table)
    return [
        {
            "threshold": row["threshold"],
            "metric": row["metric"],
            "observed": finite(row["observed"]),
            "n": row["n"],
            "within": row["within"],
            "verdict": told["verdict"],
            "sentence": told["sentence"],
        }
        for row, told in zip(table.to_dict("records"), said, strict=True)
    ]


def check_before_running(claim_files: Sequence[Path], thresholds: Sequence[str]) -> None:
    """Refuse claims and thresholds that cannot be read before minutes are spent on a run.

    Raises
    ------
    UsageError
        A file of claims is missing.
    InputError
        A claim cannot be understood.
    ThresholdError
        A threshold cannot be understood.
    """
    if not claim_files and not thresholds:
        return
    from analysis.claims import claims  # noqa: PLC0415 - pandas, which --help never needs

    for file in claim_files:
        if not file.is_file():
            raise UsageError(f"The experiment names claims in {file}, and there is no such file.")
        claims.read(file)
    parse_all(thresholds)


def claims_of(manifest: Manifest, named: Sequence[Path] = ()) -> list[Path]:
    """Give the files of claims to show with this run; none when nothing is claimed of it."""
    if named:
        return [catalogue.claims_file(file) for file in named]
    own = [
        catalogue.claims_file(Path(str(name))) for name in manifest.experiment.get("claims") or ()
    ]
    if manifest.cached_operation == SHIPPED_OPERATION:
        own.append(catalogue.claims_file(SHIPPED))
    return [file for file in dict.fromkeys(own) if file.is_file()]


def with_claims(found: Findings, files: Sequence[Path]) -> Findings:
    """Give the findings with the claims of all the files checked against them.

    An INVALID run stays without.

    Raises
    ------
    InputError
        A file is missing or a claim in it cannot be understood.
    """
    from analysis.claims import claims  # noqa: PLC0415 - pandas, which --help never needs

    return claims.with_claims(found, [claims.read(file) for file in files])
