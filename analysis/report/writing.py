"""Writes ``report.html``, ``findings.json``, ``figures/`` into a run, each whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from analysis.document.document import Document
from analysis.questions.findings import Findings
from analysis.questions.published import as_json
from analysis.report import page
from analysis.report.pictures import Pictures, pictures


def write(
    document: Document,
    findings: Findings,
    folder: Path,
    drawn: Mapping[str, Pictures] | None = None,
    *,
    brief: bool = False,
) -> Path:
    """Write the three into ``folder`` and give the page's path; ``brief`` the short page as well.

    A file appears under its name only when it is whole. ``drawn`` saves drawing again what is
    drawn already.
    """
    drawn = pictures(document) if drawn is None else drawn
    _write_figures(drawn, folder / "figures")
    _replace(folder / "findings.json", as_json(findings).encode())
    report = folder / "report.html"
    _replace(report, page.html(document, drawn).encode())
    if not brief:
        return report
    short = folder / "brief.html"
    _replace(short, page.html(document.shortened(), drawn).encode())
    return short


def _write_figures(drawn: Mapping[str, Pictures], folder: Path) -> None:
    """Every figure as SVG and PNG, in a folder that replaces the one of an earlier report."""
    fresh = Path(tempfile.mkdtemp(prefix=".figures-", dir=folder.parent))
    try:
        for name, one in drawn.items():
            (fresh / f"{name}.svg").write_text(one.svg, encoding="utf-8")
            (fresh / f"{name}.png").write_bytes(one.png)
        fresh.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _replace(path: Path, content: bytes) -> None:
    """Write beside the file and move over it."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    fresh = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        fresh.chmod(0o644)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
