"""``worthit report`` as it is typed."""

from __future__ import annotations

import json
import os
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jsonschema
import pytest

from analysis.document.document import Document
from analysis.report import notebooks, writing
from analysis.report.pictures import Pictures
from tests.support.project.source_tree import ROOT
from tests.support.runs.synthetic_run import EMPTY, INVALID, Truth, write_foreign_run, write_run
from worthit.__main__ import main
from worthit.contract.exit_codes import ExitCode

pytestmark = pytest.mark.integration

SMALL = Truth(rates_per_s=(10.0, 20.0), pairs=3, block_s=1.5)
"""Six blocks an arm: enough for intervals."""


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("command") / "runs" / "20261123T140000Z_b", SMALL)


@pytest.fixture(name="_blank")
def _blank_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take most of a report's time and are tried elsewhere: here they are blank."""

    def blank(document: Document) -> dict[str, Pictures]:
        empty = Pictures(wide="<svg/>", narrow="<svg/>", svg="<svg/>", png=b"")
        return {drawing.name: empty for drawing in document.drawings()}

    monkeypatch.setattr(writing, "pictures", blank)


@pytest.mark.usefixtures("_blank")
def test_json_is_one_document_that_keeps_to_the_schema(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--json prints findings.json, which the published schema describes, and nothing else."""
    code = main(["report", str(run), "--json"])
    printed = capsys.readouterr()
    schema = json.loads((ROOT / "docs/schemas/findings.schema.json").read_text())
    document = json.loads(printed.out)

    assert code == ExitCode.DONE
    jsonschema.validate(document, schema)
    assert json.loads((run / "findings.json").read_text()) == document
    assert f"Written: {run / 'report.html'}" in printed.err


@pytest.mark.usefixtures("_blank")
def test_the_short_page_is_written_beside_the_report_and_opened(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--brief leaves out every table, and --open gives the browser that page."""
    seen = tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {seen}\n')
    browser.chmod(0o755)
    monkeypatch.setattr(webbrowser, "_tryorder", None)  # the variable is read once
    monkeypatch.setenv("BROWSER", str(browser))

    code = main(["report", str(run), "--brief", "--open"])
    printed = capsys.readouterr().out
    page = (run / "brief.html").read_text(encoding="utf-8")

    assert code == ExitCode.DONE
    assert seen.read_text().strip() == (run / "brief.html").resolve().as_uri()
    assert "Where does one request's time go?" in printed
    assert "By operation" not in printed
    assert "<table" not in page
    assert "<table" in (run / "report.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("_blank")
def test_markdown_is_all_there_is_on_stdout(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--markdown prints the summary alone, the paths go to stderr.

    The shipped claims are in it.
    """
    code = main(["report", str(run), "--markdown"])
    printed = capsys.readouterr().out

    assert code == ExitCode.DONE
    assert printed.startswith("## Is the personality cache worth it?\n\n**VALID**")
    assert "### Which claims hold?" in printed


def test_the_newest_run_is_taken_when_none_is_named(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a folder with runs/ the last by name is reported.

    Hidden, unfinished ones are not seen.
    """
    (run.parent / ".20991231T000000Z_unfinished").mkdir(exist_ok=True)
    (run.parent / ".20991231T000000Z_unfinished" / "manifest.json").write_text("{")
    with _inside(run.parents[1]):
        code = main(["report"])
    printed = capsys.readouterr()

    assert code == ExitCode.DONE
    assert "Does the database work less?" in printed.out
    assert "20261123T140000Z_b" in printed.err


@pytest.mark.usefixtures("_blank")
@pytest.mark.parametrize("damage", [INVALID, EMPTY], ids=["invalid", "empty"])
def test_an_invalid_run_is_reported_as_such(
    tmp_path: Path, damage: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 4; page and terminal say INVALID first and show no headline."""
    run = write_run(tmp_path / "run", SMALL, damage)  # type: ignore[arg-type] # parametrised
    code = main(["report", str(run)])
    shown = capsys.readouterr().out
    page = (run / "report.html").read_text()

    assert code == ExitCode.RUN_INVALID
    assert shown.splitlines()[1].startswith("INVALID: do not use any number")
    assert 'role="alert"' in page
    assert 'class="headline"' not in page
    assert "of a request, so users" not in page


@pytest.mark.usefixtures("_blank")
def test_a_strangers_run_has_a_report_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Spans of somebody else's service: shares and queries, and nothing pretended about arms."""
    run = write_foreign_run(tmp_path / "run")
    code = main(["report", str(run)])
    shown = capsys.readouterr().out

    assert code == ExitCode.DONE
    assert "Where does one request's time go?" in shown
    assert "Did it get faster?" not in shown
    assert "nan" not in shown.lower().split()
    assert "None" not in shown


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["report", "nowhere"], "nothing was found where a run directory was expected"),
        (["report", "--markdown", "--json"], "both want stdout"),
        (["report", "--jaeger-url", "javascript:alert(1)"], "is no web address"),
        (["report"], "No run was found in runs/"),
    ],
)
def test_wrong_usage_is_a_sentence(
    tmp_path: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is missing or contradicts itself ends with exit code 2, one sentence and no file."""
    with _inside(tmp_path):
        code = main(arguments)
    said = capsys.readouterr().err

    assert code == ExitCode.WRONG_USAGE
    assert sentence in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_table_leaves_the_older_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cut-off spans.parquet is named; report.html of before is still the one of before."""
    run = write_run(tmp_path / "run", SMALL)
    (run / "report.html").write_text("before")
    spans = (run / "spans.parquet").read_bytes()
    (run / "spans.parquet").write_bytes(spans[: len(spans) // 2])
    code = main(["report", str(run)])
    said = capsys.readouterr().err

    assert code == ExitCode.WRONG_USAGE
    assert "spans.parquet" in said
    assert (run / "report.html").read_text() == "before"


@pytest.mark.usefixtures("_blank")
def test_claims_that_are_named_are_shown(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--claims FILE replaces the shipped ledger."""
    file = tmp_path / "mine.toml"
    file.write_text(
        '[[claim]]\nid = "mine"\ntext = "my own claim"\nquantity = "reduction_factor"\n'
        'comparison = "at least"\nvalue = 2\n'
    )
    code = main(["report", str(run), "--markdown", "--claims", str(file)])
    printed = capsys.readouterr().out

    assert code == ExitCode.DONE
    assert "| my own claim | holds |" in printed
    assert "20x fewer" not in printed


@pytest.mark.usefixtures("_blank")
def test_notebooks_are_executed_beside_the_report(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--notebook leaves an HTML file a notebook.

    With this run's name and no address in a script.
    """
    last = notebooks.sources()[-1:]
    monkeypatch.setattr(notebooks, "sources", lambda: last)
    code = main(["report", str(run), "--notebook"])
    page = (run / "notebooks" / "04_what_to_cache_next.html").read_text()
    said = capsys.readouterr().err

    assert code == ExitCode.DONE
    assert "04_what_to_cache_next.html" in said
    assert "20261123T140000Z_synthetic-1" in page
    assert '<script src="http' not in page
