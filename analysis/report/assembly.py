"""From a run and its findings to the report: what is said, in which order.

Nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from analysis.report import evidence, headline, method, single_traces
from analysis.report.document import Document, Section
from analysis.report.sections import (
    capacity,
    ceiling,
    claims,
    detectability,
    equivalence,
    failures,
    faster,
    law,
    load,
    shares,
    worth_caching,
)
from analysis.report.setting import Setting, setting_of
from analysis.run import Run

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
            evidence.witness_section(findings.get("witnesses") or ()),
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
    proofs = (
        ("the load kept its schedule", findings.get("generator")),
        ("independent counts agree", findings.get("witnesses")),
    )
    known = [words for words, rows in proofs if rows]
    if len(known) == len(proofs):
        return f"The run proved itself: nothing was lost, {' and '.join(known)}."
    seen = f" ({known[0]})" if known else ""
    return (
        f"Nothing speaks against this run{seen}, but not all of it could be checked: see the "
        "evidence."
    )
