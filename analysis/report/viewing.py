"""The report piece by piece, for notebooks: an answer, a figure, a table at a time.

report = analysis.open_report(RUN)
report.answer("load")
report.figure("load")
report.table("load")
analysis.table(report.found.of(analysis.DatabaseLoad).by_step)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
from typing_extensions import override

from analysis.document.document import Document, Drawing, Section
from analysis.drawing import style
from analysis.errors import InputError
from analysis.questions.asking import findings
from analysis.questions.findings import Findings
from analysis.questions.published import read_back
from analysis.report import assembly
from analysis.rundir.run import Run, open_run
from analysis.stats.intervals import Estimate

RUN_FOLDERS = (Path("runs"), Path("../runs"))
"""Where the newest run is looked for: from the project's folder and from ``notebooks/``."""

_PNG_DPI = 110
"""Sharp enough in a notebook, small enough to be committed."""


@dataclass(frozen=True, slots=True)
class Said:
    """Words, shown as Markdown."""

    markdown: str

    @override
    def __repr__(self) -> str:
        return self.markdown

    def _repr_markdown_(self) -> str:
        return self.markdown


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure, shown as PNG, with its words for who cannot see it."""

    drawing: Drawing

    @override
    def __repr__(self) -> str:
        return self.drawing.alt

    def _repr_png_(self) -> bytes:
        return style.to_png(self.drawing.draw(narrow=False), dpi=_PNG_DPI)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A run's report, to be asked for its pieces."""

    run: Run
    found: Findings
    """What was found, typed."""
    document: Document

    def verdict(self) -> Said:
        """Whether the run may be believed, and why not."""
        reasons = "".join(f"\n- {reason}" for reason in self.document.reasons)
        return Said(f"**{self.document.verdict}** {self.document.run_id}{reasons}")

    def headline(self) -> Picture | Said:
        """The headline figure."""
        if self.document.headline is None:
            return self._nothing("headline")
        return Picture(self.document.headline)

    def sentences(self) -> Said:
        """The answer in two or three sentences."""
        if not self.document.answer:
            return self._nothing("answer")
        return Said("\n\n".join(self.document.answer))

    def answer(self, key: str) -> Said:
        """A question's answer, with what was counted and emulated."""
        section = self._section(key)
        if section is None:
            return self._nothing(key)
        lines = [section.answer]
        lines += [f"*Counted:* {section.sample}"] if section.sample else []
        lines += [f"*Emulated:* {section.emulated}"] if section.emulated else []
        return Said("\n\n".join(lines))

    def figure(self, key: str) -> Picture | Said:
        """A question's figure."""
        section = self._section(key)
        if section is None or not section.drawings:
            return self._nothing(key)
        return Picture(section.drawings[0])

    def table(self, key: str, number: int = 0) -> pd.DataFrame | Said:
        """A question's table as the report shows it; ``number`` picks one of several."""
        section = self._section(key)
        if section is None or number >= len(section.tables):
            return self._nothing(key)
        view = section.tables[number]
        return pd.DataFrame(view.rows, columns=[column.label for column in view.columns])

    def trace(self, number: int = 0) -> Picture | Said:
        """The waterfall of the report's so-manieth single request; 0 is the typical one."""
        if number >= len(self.document.traces):
            return self._nothing("traces")
        return Picture(self.document.traces[number].drawing)

    def _section(self, key: str) -> Section | None:
        ledger = (self.document.ledger,) if self.document.ledger else ()
        sections = (*ledger, *self.document.sections, *self.document.evidence)
        return next((section for section in sections if section.key == key), None)

    def _nothing(self, what: str) -> Said:
        if self.document.is_invalid:
            return Said(f"**INVALID**: this run shows no {what}, as no number of it may be used.")
        return Said(f"This run has nothing to say about {what}.")


def table(rows: Iterable[Any]) -> pd.DataFrame:
    """Rows of an answer as plain columns: an estimate x becomes x, x_low, x_high.

    Columns that no row has a value in are left out.
    """
    made = []
    for row in rows:
        cells: dict[str, object] = {}
        for field in fields(row):
            cell = getattr(row, field.name)
            if isinstance(cell, Estimate):
                cells[field.name] = cell.value
                cells |= {f"{field.name}_low": cell.low, f"{field.name}_high": cell.high}
            else:
                cells[field.name] = cell
        made.append(cells)
    return pd.DataFrame(made).dropna(axis="columns", how="all")


def open_report(run: str | Path | None = None) -> Report:
    """Open a run's report; without a run the newest.

    The findings are read from ``findings.json`` when the run has them, and made otherwise.

    Raises
    ------
    InputError
        When there is no run, or it cannot be read.
    """
    opened = open_run(run if run is not None else _newest())
    found = _written_findings(opened.path) or findings(opened)
    return Report(run=opened, found=found, document=assembly.assemble(opened, found))


def _newest() -> Path:
    """The newest run directory: names begin with their start."""
    for folder in RUN_FOLDERS:
        runs = sorted(folder.glob("[!.]*/manifest.json"))
        if runs:
            return runs[-1].parent
    raise InputError(
        "No run was found in runs/; make one with worthit demo, or name a run directory in RUN."
    )


def _written_findings(run: Path) -> Findings | None:
    """The findings that a report has written; none when they are absent, damaged or older."""
    file = run / "findings.json"
    try:
        if file.stat().st_mtime < (run / "manifest.json").stat().st_mtime:
            return None
        return read_back(file.read_bytes())
    except (OSError, ValueError):
        return None
