"""Which claims does a report show? Those named, else those of the experiment.

Else the shipped ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worthit.experiments import catalogue

if TYPE_CHECKING:
    from analysis.rundir.manifest import Manifest

SHIPPED = Path("claims/background.toml")
"""The claims of the write-up that the project grew from; they come along."""

SHIPPED_OPERATION = "personality.lookup"
"""The operation that they are about."""


def claim_files(manifest: Manifest, named: Sequence[Path] = ()) -> list[Path]:
    """Give the files of claims to show with this run; none when nothing is claimed of it."""
    if named:
        return [catalogue.claims_file(file) for file in named]
    own = [
        catalogue.claims_file(Path(str(name))) for name in manifest.experiment.get("claims") or ()
    ]
    if manifest.cached_operation == SHIPPED_OPERATION:
        own.append(catalogue.claims_file(SHIPPED))
    return [file for file in dict.fromkeys(own) if file.is_file()]


def with_claims(found: dict[str, Any], files: Sequence[Path]) -> dict[str, Any]:
    """Give the findings with the claims of all the files held against them.

    An INVALID run stays without.

    Raises
    ------
    InputError
        A file is missing or a claim in it cannot be understood.
    """
    from analysis.claims import claims  # noqa: PLC0415 - pandas, which --help never needs

    ledgers = [claims.read(file) for file in files]
    if not ledgers or found["verdict"]["verdict"] == "INVALID":
        return found
    checked = [claims.check(ledger, found) for ledger in ledgers]
    counts: dict[str, int] = {}
    for ledger in checked:
        for verdict, count in ledger["counts"].items():
            counts[verdict] = counts.get(verdict, 0) + count
    together = {
        "file": ", ".join(ledger["file"] for ledger in checked),
        "counts": counts,
        "claims": [row for ledger in checked for row in ledger["claims"]],
    }
    return {**found, "claims": together}
