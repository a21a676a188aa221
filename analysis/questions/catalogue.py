"""The list of questions: key in findings.json, type of the answer, who answers, who reports.

To add a question, write its room ``analysis/questions/<name>/`` and a line here; nothing else
knows of single questions. The order is that of the report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from analysis.document.document import Section
from analysis.document.setting import Setting
from analysis.questions.failures.answer import Failures
from analysis.questions.failures.answer import answer as failures
from analysis.questions.failures.section import section as failures_section
from analysis.questions.faster.answer import Faster
from analysis.questions.faster.answer import answer as faster
from analysis.questions.faster.section import section as faster_section
from analysis.questions.findings import Findings
from analysis.questions.measured import Measured

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Generic[Answer]):
    """One question that is asked of every run."""

    key: str
    """Its name in findings.json."""
    of: type[Answer]
    """The type of its answer: ``findings.of(Faster)``."""
    answer: Callable[[Measured], Answer]
    """A pure function of the run's tables."""
    section: Callable[[Findings, Setting], Section | None] | None
    """Its part of the report; None when the run has nothing to say, or when it has no part."""
    of_trees: bool = False
    """Whether it needs the call trees; these are asked last."""


QUESTIONS: tuple[Question[Any], ...] = (
    Question(key="faster", of=Faster, answer=faster, section=faster_section),
    Question(key="failures", of=Failures, answer=failures, section=failures_section),
)
"""Every question, in the order in which a report answers them."""
