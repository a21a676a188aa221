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

from analysis.checks.cross_checks import off_by
from analysis.claims.ledger import Ledger
from analysis.errors import InputError
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
class CountedTwice:
    """One count taken from spans beside the same count by somebody independent."""

    what: str
    arm: str | None
    from_spans: float | None
    independent: float | None
    """None where nobody else counted."""
    counted_by: str
    exact: bool
    tolerance: float
    """By how much the independent count may be higher: it answered, and nobody heard it."""

    @property
    def agrees(self) -> bool:
        """Whether the two counts say the same; not where nobody else counted."""
        if self.from_spans is None or self.independent is None:
            return False
        return off_by(self.from_spans, self.independent, self.tolerance) == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Percentiles of a time, in milliseconds."""

    p50: float | None
    p95: float | None
    p99: float | None
    p100: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorStep:
    """How the load kept its schedule at one load level."""

    step: int
    offered_per_s: float
    achieved_per_s: float
    arrivals_planned: int
    arrivals_sent: int
    dropped: int
    lag_p50_ms: float | None
    lag_p99_ms: float | None
    lag_max_ms: float | None
    in_flight_max: int | None
    in_flight_cap_hits: int
    requests: int | None = None
    errors: int | None = None
    service_ms: Percentiles | None = None
    response_ms: Percentiles | None = None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything that this project can say about a run."""

    run: RunFacts
    verdict: Believed
    cross_checks: tuple[CountedTwice, ...]
    generator: tuple[GeneratorStep, ...]
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
