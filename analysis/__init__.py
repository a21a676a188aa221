"""Run directory or traces in; tables, answers, figures and reports out.

What a notebook or script of your own needs stands here; it is loaded when first used::

    import analysis

    run = analysis.open_run("runs/20261123T140000Z_demo")
    run.requests  # a table of the run, as a DataFrame
    found = analysis.findings(run)  # every question
    found.of(analysis.Faster).end_to_end  # one answer, typed
    analysis.ask(run, analysis.Faster)  # one question alone
    analysis.table(found.of(analysis.Faster).end_to_end)  # rows as a DataFrame

    spans = analysis.traces.read("traces.json")  # traces of any tool
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis import traces
    from analysis.questions.asking import ask, findings
    from analysis.questions.cache_law.answer import CacheLaw
    from analysis.questions.capacity.answer import Capacity
    from analysis.questions.ceiling.answer import Ceilings
    from analysis.questions.database_load.answer import DatabaseLoad
    from analysis.questions.detectability.answer import Detectability
    from analysis.questions.emulated import Emulated
    from analysis.questions.equivalence.answer import Equivalence
    from analysis.questions.failures.answer import Failures
    from analysis.questions.faster.answer import Faster
    from analysis.questions.findings import Findings
    from analysis.questions.shares.answer import Shares
    from analysis.questions.worth_caching.answer import WorthCaching
    from analysis.report.viewing import Report, open_report, table
    from analysis.rundir.run import Run, open_run
    from analysis.stats.intervals import Estimate

_MODULES = {
    "CacheLaw": "analysis.questions.cache_law.answer",
    "Capacity": "analysis.questions.capacity.answer",
    "Ceilings": "analysis.questions.ceiling.answer",
    "DatabaseLoad": "analysis.questions.database_load.answer",
    "Detectability": "analysis.questions.detectability.answer",
    "Emulated": "analysis.questions.emulated",
    "Equivalence": "analysis.questions.equivalence.answer",
    "Estimate": "analysis.stats.intervals",
    "Failures": "analysis.questions.failures.answer",
    "Faster": "analysis.questions.faster.answer",
    "Findings": "analysis.questions.findings",
    "Report": "analysis.report.viewing",
    "Run": "analysis.rundir.run",
    "Shares": "analysis.questions.shares.answer",
    "WorthCaching": "analysis.questions.worth_caching.answer",
    "ask": "analysis.questions.asking",
    "findings": "analysis.questions.asking",
    "open_report": "analysis.report.viewing",
    "open_run": "analysis.rundir.run",
    "table": "analysis.report.viewing",
}
"""Where each public name stands. Loaded when asked for: readers of traces need no matplotlib."""

__all__ = [
    "CacheLaw",
    "Capacity",
    "Ceilings",
    "DatabaseLoad",
    "Detectability",
    "Emulated",
    "Equivalence",
    "Estimate",
    "Failures",
    "Faster",
    "Findings",
    "Report",
    "Run",
    "Shares",
    "WorthCaching",
    "ask",
    "findings",
    "open_report",
    "open_run",
    "table",
    "traces",
]


def __getattr__(name: str) -> object:
    if name == "traces":
        return import_module("analysis.traces")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'analysis' has no attribute {name!r}")
