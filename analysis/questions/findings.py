"""What a run found: facts, verdict, the counts behind it, and the answer of every question.

``findings.of(Faster)`` is the answer of one question, typed. An INVALID or empty run has its
verdict, its reasons and its evidence, and no answer. The catalogue lists the questions
(``analysis.questions.catalogue``), ``analysis.questions.asking`` asks them, and
``analysis.questions.published`` writes all of it as findings.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from analysis.claims.ledger import Ledger
from analysis.errors import InputError
from analysis.rundir.manifest import CrossCheck, Generator
from analysis.stats.intervals import Estimate

Answer = TypeVar("Answer")

Word = Literal["VALID", "SUSPECT", "INVALID"]
"""The three verdicts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """Which run it is."""

    id: str
    name: str
    question: str
    profile: str
    """Latency profile: ``seed`` emulates, ``native`` does not."""
    scenario: str
    started_ns: int
    complete: bool
    arms: tuple[str, ...]
    baseline: str | None
    cached_operation: str | None
    cached_collection: str | None
    knobs: Mapping[str, Mapping[str, Any]]
    """By arm, what the load was told, as far as the experiment says."""
    users: int | None
    """Users that the scenario has data for."""
    requests: int
    spans: int

    @property
    def treatments(self) -> tuple[str, ...]:
        """All arms but the baseline."""
        return tuple(arm for arm in self.arms if arm != self.baseline)


@dataclass(frozen=True, slots=True, kw_only=True)
class Believed:
    """Whether the run's numbers may be believed."""

    verdict: Word
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """Whether the change was worth it in one respect, and the estimate that says so."""

    subject: str
    """query_rate, users or database_cpu."""
    verdict: str
    """yes, no or not decided."""
    change: Estimate
    """After over before minus 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The answer in sentences."""

    sentences: tuple[str, ...]
    numbers: Mapping[str, Estimate | float | None]
    """The numbers in them, by name."""
    arm: str | None
    """The arm that they tell about."""
    next: str | None
    """The operation to cache next, if any."""
    decided: tuple[Decided, ...] = ()
    """What the first sentence says, where it is a decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything that this project can say about a run."""

    run: RunFacts
    verdict: Believed
    cross_checks: tuple[CrossCheck, ...]
    generator: tuple[Generator, ...]
    answers: tuple[object, ...] = ()
    """One a question, in the catalogue's order; none of a run that is INVALID."""
    headline: Headline | None = None
    claims: Ledger | None = None
    """The claims that were held against the run, if any were."""

    @property
    def is_invalid(self) -> bool:
        """Whether no number of the run may be used."""
        return self.verdict.verdict == "INVALID"

    def of(self, kind: type[Answer]) -> Answer:
        """The answer of this type.

        Raises
        ------
        InputError
            When the run has none, because it is INVALID.
        """
        found = self.has(kind)
        if found is None:
            raise InputError(
                f"{self.run.id} has no {kind.__name__}: it is {self.verdict.verdict};"
                " its verdict's reasons say why"
            )
        return found

    def has(self, kind: type[Answer]) -> Answer | None:
        """The answer of this type, or None where the run has none."""
        return next((one for one in self.answers if isinstance(one, kind)), None)
