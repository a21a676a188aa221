"""From a run and its findings to the report: what is said, in which order.

Nothing is computed here.
"""

from __future__ import annotations

from analysis.checks.counts.cross_checks import agrees
from analysis.claims import section as claims
from analysis.document.document import Document, Section
from analysis.document.setting import Setting, setting_of
from analysis.questions.catalogue import QUESTIONS
from analysis.questions.findings import Findings
from analysis.questions.headline import decision, gain_panel
from analysis.questions.headline import section as headline
from analysis.questions.single_traces import section as single_traces
from analysis.report import evidence, method
from analysis.rundir.run import Run


def assemble(run: Run, findings: Findings, *, jaeger_url: str | None = None) -> Document:
    """Put the report together.

    An INVALID run gets its reasons and the evidence, and no answer, headline or section.
    """
    manifest = run.manifest
    told = findings.headline
    setting = setting_of(manifest, told.arm if told else None)
    trusted = not findings.is_invalid
    is_closed = evidence.waits_for_answers(run)
    return Document(
        run_id=manifest.run_id,
        question=manifest.question
        or f"What does the run {manifest.name or manifest.run_id} show?",
        verdict=findings.verdict.verdict,
        reasons=findings.verdict.reasons,
        meaning=_meaning(findings, has_schedule=not is_closed),
        respects=decision.respects(findings) if trusted else (),
        answer=told.sentences if told and trusted else (),
        gain=gain_panel.drawing(findings, setting) if trusted else None,
        headline=headline.drawing(findings, setting) if trusted else None,
        ledger=claims.section(findings) if trusted else None,
        traces=single_traces.trace_views(run, setting, jaeger_url) if trusted else (),
        sections=_sections(findings, setting) if trusted else (),
        evidence=(
            evidence.timeline_section(run, setting),
            evidence.cross_check_section(findings.cross_checks),
            evidence.generator_section(
                evidence.with_lag(findings.generator, run), is_closed=is_closed
            ),
        ),
        facts=method.facts(manifest),
        commands=method.commands(manifest, str(run.path)),
    )


def _sections(findings: Findings, setting: Setting) -> tuple[Section, ...]:
    """What each question has to say, in the catalogue's order."""
    written = [question.section(findings, setting) for question in QUESTIONS if question.section]
    elsewhere = claims.elsewhere(findings)  # what this run cannot say stands below what it can
    return tuple(section for section in (*written, elsewhere) if section is not None)


def _meaning(findings: Findings, *, has_schedule: bool = True) -> str:
    """What the verdict means for the person who decides; no more than was looked at."""
    verdict = findings.verdict.verdict
    if verdict == "INVALID":
        return "Do not use any number of this run. It did not prove itself:"
    if verdict != "VALID":
        return "The numbers stand, with the reasons for caution listed here."
    counts = findings.cross_checks
    compared = [row for row in counts if row.independent is not None]
    agree = sum(agrees(row) for row in compared)
    kept = ["the load kept its schedule"] if findings.generator and has_schedule else []
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
