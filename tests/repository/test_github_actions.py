"""The workflow that docs/github-actions.md offers can be understood and typed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.project.source_tree import ROOT


def _workflow() -> dict[str, Any]:
    page = (ROOT / "docs/github-actions.md").read_text(encoding="utf-8")
    found = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert found is not None
    workflow: dict[str, Any] = yaml.safe_load(found[1])
    return workflow


def test_it_measures_before_it_speaks() -> None:
    """Steps in order: set up, measure, claims, summary, comment, keep.

    Each either runs or uses something.
    """
    steps = _workflow()["jobs"]["worthit"]["steps"]

    assert [step["name"] for step in steps if "name" in step] == [
        "Set up",
        "Measure",
        "Claims",
        "Summary",
        "Comment",
        "Keep the run",
    ]
    assert all(("run" in step) != ("uses" in step) for step in steps)


@pytest.mark.parametrize(
    ("code", "document", "ends", "told"),
    [
        (0, '{"run": "runs/R"}', 0, "run=runs/R"),
        (3, '{"run": "runs/R"}', 3, "run=runs/R"),
        (4, '{"run": "runs/R"}', 0, "run=runs/R"),
        (0, '{"run": null}', 1, "run="),
        (1, "", 1, "run="),
    ],
    ids=["good", "claim-fails", "invalid", "no-run", "tool-failed"],
)
def test_a_run_decides_how_the_step_ends(
    code: int, document: str, ends: int, told: str, tmp_path: Path
) -> None:
    """The step that measures passes a good run, warns of an INVALID one, and fails on all else."""
    commands = tmp_path / ".venv/bin"
    commands.mkdir(parents=True)
    (commands / "python").symlink_to(sys.executable)
    (commands / "worthit").write_text(f"#!/bin/sh\necho '{document}'\nexit {code}\n")
    (commands / "worthit").chmod(0o755)
    steps = _workflow()["jobs"]["worthit"]["steps"]
    script = next(step["run"] for step in steps if step.get("name") == "Measure")

    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "GITHUB_OUTPUT": str(tmp_path / "output")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == ends, done.stderr
    assert (tmp_path / "output").read_text().splitlines() == [told]
    assert ("::warning::" in done.stdout) == (code == 4)


def test_it_uses_only_commands_and_files_that_there_are() -> None:
    """Verbs, options and files of ours in the scripts exist."""
    from worthit.__main__ import VERBS  # noqa: PLC0415 - beside its one use

    scripts = "\n".join(step.get("run", "") for step in _workflow()["jobs"]["worthit"]["steps"])
    verbs = set(re.findall(r"worthit (\w+)", scripts))

    assert verbs == {"check", "demo", "report"} <= set(VERBS)
    assert (ROOT / "claims/background.toml").is_file()
    assert "setup:" in (ROOT / "Makefile").read_text()
