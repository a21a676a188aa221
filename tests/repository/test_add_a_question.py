"""docs/add-a-question.md, followed word for word in a copy of the packages."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.support.project.documented_commands import fenced
from tests.support.project.source_tree import ROOT
from tests.support.runs.synthetic_run import Truth, write_run

PAGE = ROOT / "docs" / "add-a-question.md"

BYTES_OF_ON = 300
"""What the arm ``on`` answers here; the synthetic run has 420 for both."""


@pytest.fixture(name="tree", scope="module")
def _tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of ``analysis`` to which the page's question was added, and a run to ask."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "analysis").mkdir()
    for part in (ROOT / "analysis").iterdir():  # links keep what is compiled and cached beside it
        (folder / "analysis" / part.name).symlink_to(part)
    (folder / "analysis/questions").unlink()
    shutil.copytree(ROOT / "analysis/questions", folder / "analysis/questions")
    # the command imports the `analysis` that lies beside it
    shutil.copytree(ROOT / "worthit", folder / "worthit")
    for beside in ("claims", "experiments", "loadtests"):
        (folder / beside).symlink_to(ROOT / beside)
    text = PAGE.read_text(encoding="utf-8")
    room, entry = (
        block.split("\n", 1) for block in re.findall(r"```python\n# (.*?)```", text, re.DOTALL)
    )
    (folder / room[0]).write_text(room[1], encoding="utf-8")
    _add_to_list(folder / entry[0], *entry[1].split("\n\n", 1))
    (folder / "docs/schemas").mkdir(parents=True)
    run = write_run(folder / "runs/RUN", Truth(rates_per_s=(20.0,), pairs=6, block_s=1.0))
    requests = pd.read_parquet(run / "requests.parquet")
    requests.loc[requests["arm"] == "on", "response_bytes"] = BYTES_OF_ON
    requests.to_parquet(run / "requests.parquet")
    return folder


def _add_to_list(catalogue: Path, imported: str, entry: str) -> None:
    """Put the import among the others and the entry at the list's beginning."""
    text = catalogue.read_text(encoding="utf-8")
    first = text.index("from analysis.")
    text = f"{text[:first]}{imported}\n{text[first:]}"
    whole, begun = re.subn(
        r"^(QUESTIONS: .*= \()$", rf"\1\n{entry.strip()},", text, flags=re.MULTILINE
    )
    assert begun == 1
    catalogue.write_text(whole, encoding="utf-8")


def _typed(tree: Path, command: str) -> str:
    """What a command prints in the copy, which comes before the installed packages."""
    python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-ec", command],
        cwd=tree,
        env={**os.environ, "PATH": python, "PYTHONPATH": f"{tree}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_answer_is_in_findings_and_report(tree: Path) -> None:
    """The question's numbers are in findings.json, its words on the page and in Markdown."""
    markdown = _typed(tree, "python -m worthit report runs/RUN --markdown")
    found: list[dict[str, Any]] = json.loads((tree / "runs/RUN/findings.json").read_text())[
        "response_size"
    ]

    assert {"off": 420.0, "on": float(BYTES_OF_ON)} == {
        row["arm"]: row["size"]["value"] for row in found
    }
    assert all(row["size"]["blocks"] == 6 for row in found)
    assert "How large are the answers?" in (tree / "runs/RUN/report.html").read_text()
    assert "How large are the answers?" in markdown


def test_the_schema_describes_the_answer(tree: Path) -> None:
    """The page's command writes a schema that knows the question, its rows and their fields."""
    command = next(command for command in fenced(PAGE) if "schema()" in command)
    _typed(tree, command)
    schema = json.loads((tree / "docs/schemas/findings.schema.json").read_text())

    assert "response_size" in schema["properties"]
    row = schema["$defs"]["SizeRow"]
    assert {"arm", "size"} == set(row["required"])
    assert "Mean bytes per answer." in row["properties"]["size"]["description"]
