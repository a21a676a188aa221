"""Which claims does a report show? Those named, else those of the experiment.

Else the shipped ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from worthit.experiments import catalogue

if TYPE_CHECKING:
    from analysis.questions.findings import Findings
    from analysis.rundir.manifest import Manifest

SHIPPED = "claims/background.toml"
"""The claims of the write-up that the project grew from, beside the experiments."""

SHIPPED_OPERATION = "personality.lookup"
"""The operation that they are about."""


def claim_files(manifest: Manifest, named: Sequence[Path] = ()) -> list[Path]:
    """Give the files of claims to show with this run; none when nothing is claimed of it."""
    if named:
        return list(named)
    folder = catalogue.folder()
    own = [folder / str(name) for name in manifest.experiment.get("claims") or ()]
    shipped = folder.parent / SHIPPED
    if manifest.cached_operation == SHIPPED_OPERATION:
        own.append(shipped)
    return [file for file in dict.fromkeys(own) if file.is_file()]


def with_claims(found: Findings, files: Sequence[Path]) -> Findings:
    """Give the findings with the claims of all the files held against them.

    An INVALID run stays without.

    Raises
    ------
    InputError
        A file is missing or a claim in it cannot be understood.
    """
    from analysis.claims import claims  # noqa: PLC0415 - pandas, which --help never needs

    return claims.with_claims(found, [claims.read(file) for file in files])
