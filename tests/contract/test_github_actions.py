"""The workflow that docs/github-actions.md offers can be understood and typed."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tests.support.source_tree import ROOT


def _workflow() -> dict[str, Any]:
    page = (ROOT / "docs/github-actions.md").read_text(encoding="utf-8")
    found = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert found is not None
    workflow: dict[str, Any] = yaml.safe_load(found[1])
    return workflow


def test_it_measures_before_it_speaks() -> None:
    """Steps in order: measure, claims, summary, comment, keep.

    Each either runs or uses something.
    """
    steps = _workflow()["jobs"]["worthit"]["steps"]

    assert [step["name"] for step in steps if "name" in step] == [
        "Measure",
        "Claims",
        "Summary",
        "Comment",
        "Keep the run",
    ]
    assert all(("run" in step) != ("uses" in step) for step in steps)


def test_every_exit_code_is_thought_of() -> None:
    """4 is a warning, everything else but 0 fails the job."""
    scripts = "\n".join(step.get("run", "") for step in _workflow()["jobs"]["worthit"]["steps"])

    assert '"$code" = 4' in scripts
    assert 'exit "$code"' in scripts
    assert "::warning::" in scripts


def test_it_uses_only_commands_and_files_that_there_are() -> None:
    """Verbs, options and files of ours in the scripts exist."""
    from harness.__main__ import VERBS  # noqa: PLC0415 - beside its one use

    scripts = "\n".join(step.get("run", "") for step in _workflow()["jobs"]["worthit"]["steps"])
    verbs = set(re.findall(r"worthit (\w+)", scripts))

    assert verbs == {"check", "report"} <= set(VERBS)
    assert (ROOT / "claims/background.toml").is_file()
    assert "demo:" in (ROOT / "Makefile").read_text()
