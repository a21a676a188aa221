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
from analysis.questions import emulated, streamed_replies
from analysis.questions.cache_law import answer as cache_law
from analysis.questions.cache_law import section as cache_law_section
from analysis.questions.capacity import answer as capacity
from analysis.questions.capacity import section as capacity_section
from analysis.questions.ceiling import answer as ceiling
from analysis.questions.ceiling import section as ceiling_section
from analysis.questions.cost import answer as cost
from analysis.questions.cost import section as cost_section
from analysis.questions.cpu_profile import answer as cpu_profile
from analysis.questions.cpu_profile import section as cpu_profile_section
from analysis.questions.database_load import answer as database_load
from analysis.questions.database_load import section as database_load_section
from analysis.questions.detectability import answer as detectability
from analysis.questions.detectability import section as detectability_section
from analysis.questions.equivalence import answer as equivalence
from analysis.questions.equivalence import section as equivalence_section
from analysis.questions.failures import answer as failures
from analysis.questions.failures import section as failures_section
from analysis.questions.faster import answer as faster
from analysis.questions.faster import section as faster_section
from analysis.questions.findings import Findings
from analysis.questions.measured import Measured
from analysis.questions.shares import answer as shares
from analysis.questions.shares import section as shares_section
from analysis.questions.worth_caching import answer as worth_caching
from analysis.questions.worth_caching import section as worth_caching_section

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
    Question(
        key="shares",
        of=shares.Shares,
        answer=shares.answer,
        section=shares_section.section,
        of_trees=True,
    ),
    Question(
        key="load",
        of=database_load.DatabaseLoad,
        answer=database_load.answer,
        section=database_load_section.section,
    ),
    Question(
        key="cost",
        of=cost.Cost,
        answer=cost.answer,
        section=cost_section.section,
    ),
    Question(
        key="cpu_profile",
        of=cpu_profile.CpuProfile,
        answer=cpu_profile.answer,
        section=cpu_profile_section.section,
    ),
    Question(
        key="faster",
        of=faster.Faster,
        answer=faster.answer,
        section=faster_section.section,
    ),
    Question(
        key="streamed_replies",
        of=streamed_replies.StreamedReplies,
        answer=streamed_replies.answer,
        section=streamed_replies.section,
    ),
    Question(
        key="failures",
        of=failures.Failures,
        answer=failures.answer,
        section=failures_section.section,
    ),
    Question(
        key="law",
        of=cache_law.CacheLaw,
        answer=cache_law.answer,
        section=cache_law_section.section,
    ),
    Question(
        key="capacity",
        of=capacity.Capacity,
        answer=capacity.answer,
        section=capacity_section.section,
    ),
    Question(
        key="ceiling",
        of=ceiling.Ceilings,
        answer=ceiling.answer,
        section=ceiling_section.section,
        of_trees=True,
    ),
    Question(
        key="equivalence",
        of=equivalence.Equivalence,
        answer=equivalence.answer,
        section=equivalence_section.section,
    ),
    Question(
        key="detectability",
        of=detectability.Detectability,
        answer=detectability.answer,
        section=detectability_section.section,
    ),
    Question(
        key="worth_caching",
        of=worth_caching.WorthCaching,
        answer=worth_caching.answer,
        section=worth_caching_section.section,
        of_trees=True,
    ),
    Question(
        key="emulated", of=emulated.Emulated, answer=emulated.answer, section=None, of_trees=True
    ),
)
"""Every question, in the order in which a report answers them."""
