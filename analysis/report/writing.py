"""Writes ``report.html``, ``findings.json``, ``figures/`` into a run, each whole or not at all."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.document.document import Document
from analysis.report import page
from analysis.report.pictures import Pictures, pictures


def write(
    document: Document,
    findings: Mapping[str, Any],
    folder: Path,
    drawn: Mapping[str, Pictures] | None = None,
) -> Path:
    """Write the three into ``folder`` and give the page's path.

    A file appears under its name only when it is whole. ``drawn`` saves drawing again what is
    drawn already.
    """
    drawn = pictures(document) if drawn is None else drawn
    _write_figures(drawn, folder / "figures")
    _replace(folder / "findings.json", findings_json(findings).encode())
    report = folder / "report.html"
    _replace(report, page.html(document, drawn).encode())
    return report


def findings_json(findings: Mapping[str, Any]) -> str:
    """The findings as one JSON document.

    What is not a finite number is null, as JSON has no other word for it.
    """
    return json.dumps(_plain(findings), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:  # noqa: ANN401 # any JSON value
    """Plain Python values: numpy's numbers unwrapped, not-a-number as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


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
