"""Where the Locust scenarios that come along lie: ``loadtests/``, or in the wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]

FOLDER_IN_WHEEL = _PACKAGE / "scenarios"
"""Where the wheel puts the scenarios (pyproject.toml, force-include)."""

FOLDER_IN_TREE = _PACKAGE.parent / "loadtests"
"""Where they are edited."""


def scenarios_folder() -> Path:
    """Give the folder of the scenario files that belong to this installation.

    Raises
    ------
    FileNotFoundError
        When the installation has lost them.
    """
    for candidate in (FOLDER_IN_WHEEL, FOLDER_IN_TREE):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(
        2, "the Locust scenarios are missing; install the project again", str(FOLDER_IN_WHEEL)
    )
