"""The notebooks: thin, committed with outputs, and alive on a fresh run."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

import analysis
from analysis.errors import AnalysisError
from analysis.questions.asking import findings
from analysis.questions.database_load.answer import DatabaseLoad
from analysis.questions.published import as_json
from analysis.report import notebooks
from analysis.report.viewing import Said
from analysis.rundir.run import open_run
from tests.support.runs.synthetic_run import INVALID, Truth, write_run

BOOKS = notebooks.sources()
NAMES = [path.stem for path in BOOKS]


def _cells(path: Path, kind: str) -> list[dict[str, Any]]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == kind]


def _source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh run with its findings written, as a report leaves it."""
    folder = write_run(
        tmp_path_factory.mktemp("notebooks") / "run",
        Truth(rates_per_s=(10.0, 20.0), pairs=6, block_s=2.0),
    )
    opened = open_run(folder)
    (folder / "findings.json").write_text(as_json(findings(opened)))
    return folder


def test_there_are_four() -> None:
    """Where the time goes, what the load does, did it matter, what to cache next."""
    assert NAMES == [
        "01_where_the_time_goes",
        "02_what_the_load_does",
        "03_did_it_matter",
        "04_what_to_cache_next",
    ]


@pytest.mark.parametrize("path", BOOKS, ids=NAMES)
def test_a_notebook_is_thin(path: Path) -> None:
    """One parameter cell, nothing imported but analysis, nothing defined."""
    code = [_source(cell) for cell in _cells(path, "code")]
    tagged = [
        cell for cell in _cells(path, "code") if "parameters" in cell["metadata"].get("tags", [])
    ]
    tree = ast.parse("\n".join(code))
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    defined = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda)
    ]

    assert len(tagged) == 1
    assert _source(tagged[0]).startswith("RUN = ")
    assert {name.split(".")[0] for name in imported} == {"analysis"}
    assert defined == []


@pytest.mark.parametrize("path", BOOKS, ids=NAMES)
def test_a_notebook_is_committed_with_its_outputs(path: Path) -> None:
    """Every cell but imports and parameters shows something, no error, and nobody's folder."""
    cells = [
        cell for cell in _cells(path, "code") if _source(cell).startswith(("report.", "analysis."))
    ]
    text = path.read_text(encoding="utf-8")

    assert [_source(cell) for cell in cells if not cell["outputs"]] == []
    assert [cell for cell in cells if cell["outputs"][0]["output_type"] == "error"] == []
    assert "nothing to say" not in text
    assert re.findall(r"(?:/home/|/root/|/tmp/|/Users/)[\w.-]+", text) == []


@pytest.mark.parametrize("path", BOOKS, ids=NAMES)
def test_a_notebook_runs_on_a_fresh_run(path: Path, run: Path) -> None:
    """Executed on a run of today each cell still has something to show of it."""
    before = path.read_bytes()
    book = notebooks.executed(path, run)
    shown = [
        json.dumps(output.get("data", {}))
        for cell in book.cells
        if cell["cell_type"] == "code"
        for output in cell["outputs"]
    ]

    assert any("synthetic-1" in output for output in shown)
    assert [
        output for output in shown if "nothing to say about" in output and "claims" not in output
    ] == []
    assert sum('"image/png"' in output for output in shown) >= 1
    assert path.read_bytes() == before


def test_a_failing_cell_is_a_sentence(tmp_path: Path) -> None:
    """A run that is not there ends in one sentence that names notebook, error and folder."""
    with pytest.raises(AnalysisError, match=r"01_where.*a cell failed: InputError"):
        notebooks.executed(BOOKS[0], tmp_path / "nowhere")


def test_an_invalid_run_shows_no_number(tmp_path: Path) -> None:
    """On an INVALID run every cell answers in words that no number may be used."""
    run = write_run(tmp_path / "run", Truth(rates_per_s=(10.0,), pairs=2, block_s=1.0), INVALID)
    report = analysis.open_report(run)
    answers = [report.headline(), report.sentences(), report.answer("load"), report.figure("load")]

    assert all(isinstance(answer, Said) and "INVALID" in repr(answer) for answer in answers)
    assert report.found.has(DatabaseLoad) is None
