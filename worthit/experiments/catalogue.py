"""The experiments and claims that come along: ``experiments/``, ``claims/``, or in the wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from worthit.errors import WorthitError

_PACKAGE: Final = Path(__file__).parents[1]

EXPERIMENTS: Final = (_PACKAGE / "experiments" / "files", _PACKAGE.parent / "experiments")
"""Where the wheel puts them (pyproject.toml, force-include), and where they are edited."""

CLAIMS: Final = (_PACKAGE / "claims", _PACKAGE.parent / "claims")
"""Likewise."""


def folder() -> Path:
    """Give the folder of the experiment files that belong to this installation."""
    return _existing(EXPERIMENTS, "experiment files")


def claims_folder() -> Path:
    """Give the folder of the claims that belong to this installation."""
    return _existing(CLAIMS, "claims")


def files() -> list[Path]:
    """Give the experiment files, in order of their names."""
    return sorted(folder().glob("*.toml"))


def experiment_file(named: Path) -> Path:
    """Give the file as it was named; if there is none, the one that comes along by that name.

    ``rate-sweep``, ``rate-sweep.toml`` and ``experiments/rate-sweep.toml`` all name one.
    """
    if not named.exists() and named.parent.name in {"", "experiments"}:
        shipped = folder() / f"{named.name.removesuffix('.toml')}.toml"
        return shipped if shipped.is_file() else named
    return named


def called(file: Path) -> str:
    """Give what ``worthit run`` takes for the file: a catalogue's name, else the path."""
    return file.stem if file.resolve().parent == folder().resolve() else str(file)


def claims_file(named: Path, experiment: Path | None = None) -> Path:
    """Give a file of claims as it was named, relative to its `experiment` if that is known.

    If there is none, the one that comes along by that name, such as ``claims/background.toml``.
    """
    wanted = named if experiment is None else experiment.parent / named
    places = [wanted, folder() / named]
    if named.parent.name == "claims":
        places.append(claims_folder() / named.name)
    return next((place for place in places if place.is_file()), wanted)


def _existing(places: tuple[Path, ...], what: str) -> Path:
    for place in places:
        if place.is_dir():
            return place
    raise WorthitError(
        f"The {what} that belong to worthit are missing; install the project again."
    )
