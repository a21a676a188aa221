"""From a run and its findings to the report: what is said, in which order.

Nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.report import evidence, method
from analysis.report.document import Document
from analysis.run import Run


def assemble(run: Run, findings: Mapping[str, Any], *, jaeger_url: str | None = None) -> Document:
    """Put the report together.

    An INVALID run gets its reasons and the evidence, and no answer, headline or section.
    """
    manifest = run.manifest
    verdict = findings["verdict"]
    del jaeger_url
    return Document(
        run_id=manifest.run_id,
        question=manifest.question
        or f"What does the run {manifest.name or manifest.run_id} show?",
        verdict=verdict["verdict"],
        reasons=tuple(verdict["reasons"]),
        evidence=(
            evidence.timeline_section(run),
            evidence.witness_section(findings.get("witnesses") or ()),
            evidence.generator_section(findings.get("generator") or ()),
        ),
        facts=method.facts(manifest),
        commands=method.commands(manifest, str(run.path)),
    )
