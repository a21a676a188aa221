"""The experiments that come along: ``experiments/`` in the tree, ``files/`` here in a wheel."""

from __future__ import annotations

from pathlib import Path

from worthit.errors import WorthitError

FOLDER_IN_WHEEL = Path(__file__).with_name("files")
"""Where the wheel puts the experiment files (pyproject.toml, force-include)."""

FOLDER_IN_TREE = Path(__file__).parents[2] / "experiments"
"""Where they are edited."""


def folder() -> Path:
    """Give the folder of the experiment files that belong to this installation."""
    for candidate in (FOLDER_IN_WHEEL, FOLDER_IN_TREE):
        if candidate.is_dir():
            return candidate
    raise WorthitError(
        "The experiment files that belong to worthit are missing; install the project again."
    )


def files() -> list[Path]:
    """Give the experiment files, in order of their names."""
    return sorted(folder().glob("*.toml"))


def find(name: str) -> Path:
    """Give the file of the experiment `name`, which is its file name without ``.toml``.

    Raises
    ------
    WorthitError
        There is none of that name.
    """
    file = folder() / f"{name}.toml"
    if not file.is_file():
        known = ", ".join(path.stem for path in files())
        raise WorthitError(f"No experiment named {name} comes along; those are: {known}.")
    return file
