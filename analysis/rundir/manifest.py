"""What was meant, done and lost in a run? ``manifest.json`` as typed, frozen values."""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field


class _Part(BaseModel):
    """What the parts of the manifest share: frozen; unknown keys are kept, not refused."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Arm(_Part):
    """One configuration of the service under test."""

    name: str
    env: dict[str, str] = {}
    baseline: bool = False
    database: str | None = None
    """The arm's own database: the ``database`` label of the postgres counters."""
    redis: bool | None = None
    """Whether the arm has a Redis of its own: the ``arm`` label of the redis counters."""
    instances: int = 1
    fault: str | None = None
    """What happened to its Redis in the run, if the experiment wished for it."""
    knobs: dict[str, Any] = {}


class Step(_Part):
    """One load level."""

    step: int
    rate_per_s: float


class Block(_Part):
    """One repeat of an arm and step; two blocks of one pair share their step and draws."""

    block: int
    pair: int
    arm: str
    step: int
    rate_per_s: float
    warmup: bool = False
    start_ns: int
    end_ns: int


class Generator(_Part):
    """How well the load generator kept its schedule in one step."""

    step: int
    offered_per_s: float
    achieved_per_s: float
    arrivals_planned: int = 0
    arrivals_sent: int = 0
    dropped: int = 0
    lag_p50_ms: float | None = None
    lag_p99_ms: float | None = None
    lag_max_ms: float | None = None
    in_flight_max: int | None = None
    in_flight_cap_hits: int = 0


class Worker(_Part):
    """How one load worker fared. ``cpu_share_max`` is 1.0 for one whole core."""

    worker: str
    cpu_share_max: float | None = None
    gc_pause_max_ms: float | None = None


class Recorded(_Part):
    """What the recorder took in and what it lost."""

    spans: int = 0
    requests: int = 0
    bytes: int = 0
    refused_batches: int = 0
    undecodable_bytes: int = 0


class CrossCheck(_Part):
    """One count taken from spans beside the same count by somebody independent."""

    what: str
    from_spans: float | None = None
    independent: float | None = None
    counted_by: str = Field("", validation_alias=AliasChoices("counted_by", "witness"))
    exact: bool = True
    tolerance: float = 0.0
    """By how much the cross-check may have counted more: it answered, and nobody heard it."""


class Verdict(_Part):
    """VALID, SUSPECT, INVALID, or UNJUDGED while a run is being finished; with sentences."""

    verdict: str = "UNJUDGED"
    reasons: tuple[str, ...] = ()


class Manifest(_Part):
    """``manifest.json``: what was meant, what was done, what was lost, the verdict.

    Only ``format_version`` and ``run_id`` are demanded: a run of somebody else's service has no
    arms, blocks or generator, and says so by leaving them out.
    """

    format_version: int
    run_id: str
    name: str = ""
    complete: bool = True
    question: str = ""
    started_ns: int = 0
    ended_ns: int = 0
    experiment: dict[str, Any] = {}
    seed: int | None = None
    profile: str = ""
    scenario: str = ""
    arms: tuple[Arm, ...] = ()
    cached_operation: str | None = None
    cached_collection: str | None = None
    steps: tuple[Step, ...] = ()
    blocks: tuple[Block, ...] = ()
    machine: dict[str, Any] = {}
    versions: dict[str, str | None] = {}
    git_commit: str | None = None
    parts: dict[str, dict[str, Any]] = {}
    recorded: Recorded = Recorded()
    generator: tuple[Generator, ...] = ()
    workers: tuple[Worker, ...] = ()
    cross_checks: tuple[CrossCheck, ...] = Field(
        (), validation_alias=AliasChoices("cross_checks", "witnesses")
    )
    verdict: Verdict = Verdict()
    set_aside: tuple[int, ...] = ()
    """Steps beyond what the generator could hold, in a run that looked for this limit."""

    @property
    def baseline(self) -> str | None:
        """The arm the others are held against: the flagged one, else the first, else none."""
        flagged = [arm.name for arm in self.arms if arm.baseline]
        names = flagged or [arm.name for arm in self.arms]
        return names[0] if names else None

    @property
    def treatments(self) -> tuple[str, ...]:
        """Names of all arms but the baseline, in the manifest's order."""
        return tuple(arm.name for arm in self.arms if arm.name != self.baseline)

    @property
    def measured_blocks(self) -> tuple[Block, ...]:
        """The blocks that count: all but warm-up and those of steps that were set aside."""
        return tuple(
            block for block in self.blocks if not block.warmup and block.step not in self.set_aside
        )
