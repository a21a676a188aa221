"""From a run and its findings to the report: what is said, in which order.

Nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from analysis.checks.cross_checks import agrees
from analysis.claims import section as claims
from analysis.document.document import Document, Section
from analysis.document.setting import Setting, setting_of
from analysis.questions.cache_law import section as law
from analysis.questions.capacity import section as capacity
from analysis.questions.ceiling import section as ceiling
from analysis.questions.database_load import section as load
from analysis.questions.detectability import section as detectability
from analysis.questions.equivalence import section as equivalence
from analysis.questions.failures import section as failures
from analysis.questions.faster import section as faster
from analysis.questions.headline import section as headline
from analysis.questions.shares import section as shares
from analysis.questions.single_traces import section as single_traces
from analysis.questions.worth_caching import section as worth_caching
from analysis.report import evidence, method
from analysis.rundir.run import Run

_SECTIONS: tuple[Callable[[Mapping[str, Any], Setting], Section | None], ...] = (
    shares.section,
    load.section,
    faster.section,
    failures.section,
    law.section,
    capacity.section,
    ceiling.section,
    equivalence.section,
    detectability.section,
    worth_caching.section,
)
"""The questions in the order in which they are answered."""


def assemble(run: Run, findings: Mapping[str, Any], *, jaeger_url: str | None = None) -> Document:
    """Put the report together.

    An INVALID run gets its reasons and the evidence, and no answer, headline or section.
    """
    manifest = run.manifest
    verdict = findings["verdict"]
    told = findings.get("headline") or {}
    setting = setting_of(manifest, told.get("arm"))
    trusted = verdict["verdict"] != "INVALID"
    written = [make(findings, setting) for make in _SECTIONS] if trusted else []
    return Document(
        run_id=manifest.run_id,
        question=manifest.question
        or f"What does the run {manifest.name or manifest.run_id} show?",
        verdict=verdict["verdict"],
        reasons=tuple(verdict["reasons"]),
        meaning=_meaning(findings),
        answer=tuple(told.get("sentences") or ()) if trusted else (),
        headline=headline.drawing(findings, setting) if trusted else None,
        ledger=claims.section(findings) if trusted else None,
        traces=single_traces.trace_views(run, setting, jaeger_url) if trusted else (),
        sections=tuple(section for section in written if section is not None),
        evidence=(
            evidence.timeline_section(run, setting),
            evidence.cross_check_section(findings.get("cross_checks") or ()),
            evidence.generator_section(findings.get("generator") or ()),
        ),
        facts=method.facts(manifest),
        commands=method.commands(manifest, str(run.path)),
    )


def _meaning(findings: Mapping[str, Any]) -> str:
    """What the verdict means for the person who decides; no more than was looked at."""
    verdict = findings["verdict"]["verdict"]
    if verdict == "INVALID":
        return "Do not use any number of this run. It did not prove itself:"
    if verdict != "VALID":
        return "The numbers stand, with the doubts listed here."
    counts = findings.get("cross_checks") or ()
    compared = [row for row in counts if row["independent"] is not None]
    agree = sum(agrees(row) for row in compared)
    kept = ["the load kept its schedule"] if findings.get("generator") else []
    if kept and counts and agree == len(counts):
        proof = f"{kept[0]} and all {agree} independent counts agree"
        return f"The run proved itself: nothing was lost, {proof}."
    missing = len(counts) - len(compared)
    known = [
        *kept,
        *([f"{agree} of {len(compared)} independent counts agree"] if compared else []),
        *([f"{missing} could not be compared"] if missing else []),
    ]
    seen = f" ({', '.join(known)})" if known else ""
    return (
        f"Nothing speaks against this run{seen}, but not all of it could be checked: see the "
        "evidence."
    )
