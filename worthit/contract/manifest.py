"""``manifest.json`` of a run directory: what was meant, done and lost in a run, and its verdict.

``worthit.run`` builds a ``Manifest`` and writes ``as_json()``; ``analysis.rundir.manifest`` reads
and checks one. Only ``format_version`` and ``run_id`` must be there: a run of somebody else's
service has no arms, blocks or generator, and says so by leaving them out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

FORMAT_VERSION: Final = 1
"""The format that docs/run-directory.md describes. History: 1, the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One configuration of the service under test."""

    name: str
    env: dict[str, str] = field(default_factory=dict)
    baseline: bool = False
    database: str | None = None
    """The arm's own database: the ``database`` label of the postgres counters."""
    redis: bool | None = None
    """Whether the arm has a Redis of its own: the ``arm`` label of the redis counters."""
    instances: int = 1
    fault: str | None = None
    """What happened to its Redis in the run, if the experiment wished for it."""
    knobs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One load level."""

    step: int
    rate_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One repeat of an arm and step as it was run; two blocks of one pair share their draws."""

    block: int
    pair: int
    arm: str
    step: int
    rate_per_s: float
    warmup: bool = False
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Of times in ms; None of no values."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    p100: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
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
    lag_apart_p99_ms: float | None = None
    """Schedule delay p99 without sends into a flood of answers after a stall of the service."""
    sent_into_floods: int | None = None
    own_p99_ms: float | None = None
    """What the load itself adds to a response time, p99, where it was calibrated."""
    in_flight_max: int | None = None
    in_flight_cap_hits: int = 0
    unknown: int | None = None
    """Arrivals of a lost worker of which nobody knows whether they were sent."""
    requests: int | None = None
    errors: int | None = None
    service_ms: Percentiles | None = None
    response_ms: Percentiles | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """How one load worker fared. ``cpu_share_max`` is 1.0 for one whole core."""

    worker: str
    cpu_share_max: float | None = None
    cpu_seconds: float | None = None
    gc_pause_max_ms: float | None = None
    gc_pauses: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """On what it was measured: what decides whether two runs may be compared."""

    cpus: int | None = None
    cpu_model: str | None = None
    memory_bytes: int | None = None
    os: str | None = None
    python: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOn:
    """What became of the copies of telemetry for an endpoint of the user's own."""

    endpoint: str
    batches: int
    missed: int
    """Batches that it did not take; they are in the recording."""

    def sentence(self) -> str:
        """How many arrived, for a person."""
        if not self.missed:
            return f"All {self.batches} batches of telemetry were passed on to {self.endpoint}."
        return (
            f"{self.missed} of {self.batches} batches of telemetry were not passed on to "
            f"{self.endpoint}, which has to take OTLP/HTTP there; the run itself lacks nothing."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A server or process that took part, such as ``postgres`` or ``service``."""

    embedded: bool = False
    """Whether the run started it; else it was the user's own."""
    instances: int | None = None
    passed_on: PassedOn | None = None
    """Of the recorder, if an endpoint was named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """How much memory all processes held together, sampled."""

    peak_bytes: int
    what: str = ""
    """How it was counted."""
    interval_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What the recorder took in and what it lost."""

    spans: int = 0
    requests: int = 0
    bytes: int = 0
    refused_batches: int = 0
    undecodable_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """By whom a recording's requests were given their arm, step and block, in order of belief."""

    requests: int = 0
    """By their row in requests.parquet, by trace id."""
    spans: int = 0
    """By ``worthit.*`` attributes on their spans, from baggage."""
    resource: int = 0
    """By the resource attribute that the user named."""
    marks: int = 0
    """By the marked block in which they began and ended."""
    recording: int = 0
    """By the recording's own arm."""
    set_aside: int = 0
    """At the edge of a marked block: under way at a mark, or begun while the arm settled."""
    nobody: int = 0
    """They belong to no arm."""

    def sentence(self) -> str:
        """Who placed how many, for a person."""
        ways = (
            (self.requests, "by the load's record of their trace id"),
            (self.spans, "by worthit.* attributes on their spans"),
            (self.resource, "by the resource attribute that was named"),
            (self.marks, "by the marked block that they began in"),
            (self.recording, "by the recording's own arm"),
        )
        told = [f"{count} {way}" for count, way in ways if count]
        edge = self.set_aside
        total = sum(count for count, _ in ways) + edge + self.nobody
        left = f"; {edge} at the edge of a marked block are set aside" if edge else ""
        if not told:
            return f"None of {total} requests says which arm it belongs to{left}."
        left += f"; {self.nobody} could not be placed and are left out" if self.nobody else ""
        return f"Arms of {total} traces: {', '.join(told)}{left}."


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossCheck:
    """One count taken from spans beside the same count by somebody independent."""

    what: str
    arm: str | None = None
    from_spans: float | None = None
    independent: float | None = None
    """None where nobody counted."""
    counted_by: str = ""
    exact: bool = True
    tolerance: float = 0.0
    """By how much the cross-check may have counted more: it answered, and nobody heard it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """VALID, SUSPECT, INVALID, or UNJUDGED while a run is being finished; with sentences."""

    verdict: str = "UNJUDGED"
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One half of a run that was interrupted and carried on."""

    run_id: str
    started_ns: int
    ended_ns: int
    git_commit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedSource:
    """Traces that ``worthit import`` was given, and what came of them."""

    name: str
    """A file, folder or address, as the user named it."""
    arm: str | None = None
    """The arm that the user said they are of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """Where the spans of a run came from that nobody recorded here."""

    sources: tuple[ImportedSource, ...]
    requests: int
    """Traces."""
    arm_from: str | None = None
    """The attribute that names a request's arm."""
    unknown_arm: int = 0
    """Requests that name no arm though others do: they are in no answer about arms."""
    block_seconds: float | None = None
    """The length of the blocks that each arm's time was cut into; None: as the traces say."""
    passed_over: tuple[str, ...] = ()
    """What was not read, a sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The whole file."""

    format_version: int
    run_id: str
    name: str = ""
    complete: bool = True
    question: str = ""
    started_ns: int = 0
    ended_ns: int = 0
    experiment: dict[str, Any] = field(default_factory=dict)
    """The experiment file as given, or what ``worthit record`` was asked for."""
    experiment_file: str | None = None
    """What to give ``worthit run`` to make the run again: a path, or a name of the catalogue."""
    seed: int | None = None
    profile: str = ""
    scenario: str = ""
    arms: tuple[Arm, ...] = ()
    cached_operation: str | None = None
    cached_collection: str | None = None
    steps: tuple[Step, ...] = ()
    blocks: tuple[Block, ...] = ()
    machine: Machine = Machine()
    versions: dict[str, str | None] = field(default_factory=dict)
    git_commit: str | None = None
    parts: dict[str, Part] = field(default_factory=dict)
    memory: Memory | None = None
    recorded: Recorded = Recorded()
    imported: Imported | None = None
    """Of ``worthit import``; None of a run that was recorded."""
    generator: tuple[Generator, ...] = ()
    workers: tuple[Worker, ...] = ()
    segments: tuple[Segment, ...] = ()
    """The halves of a run that was interrupted and carried on; none of any other run."""
    cross_checks: tuple[CrossCheck, ...] = ()
    verdict: Verdict = Verdict()
    set_aside: tuple[int, ...] = ()
    """Steps beyond what the generator could hold, in a run that looked for this limit."""
    arm: str | None = None
    """Of a recording: the arm of requests of which nothing else says it."""
    block: int | None = None
    """Likewise their block."""
    arm_from: str | None = None
    """Of a recording: the resource attribute that names the arm, such as ``service.version``."""
    settle_s: float = 0.0
    """Of a recording with marks: for how long after each its arm was given time to settle."""
    campaign: str | None = None
    """Of a recording: what it is one of several recordings of."""
    recordings: tuple[str, ...] = ()
    """Of a run that was made of several recordings: their run ids, in order of time."""
    placed: Placed | None = None
    """Of a recording: by whom its requests were given their arm. Older recordings lack it."""

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

    def as_json(self) -> dict[str, Any]:
        """Give the file's content; of a part, only what there is to say of it."""
        parts = {
            name: {key: value for key, value in asdict(part).items() if value is not None}
            for name, part in self.parts.items()
        }
        return {**asdict(self), "parts": parts}


@dataclass(frozen=True, slots=True, kw_only=True)
class LostWorker:
    """A load worker that was lost, and what with it."""

    worker: str
    not_sent: int
    """Arrivals that it was assigned and did not report as sent."""
    not_recorded: int
    """Requests that it reported as sent and did not record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestNote:
    """What the load's workers say of some of their requests: a predicate, as ``had no row``."""

    requests: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What the load says of its own run in ``generator.json``, beside its own verdict."""

    generator: tuple[Generator, ...] = ()
    workers: tuple[Worker, ...] = ()
    lost_workers: tuple[LostWorker, ...] = ()
    stopped_early: bool = False
    begun_until_ns: int = 0
    """All arrivals before this offset have begun: blocks that end until then are whole."""
    rows_lost: int = 0
    """Rows of requests that could not be written."""
    notes: tuple[RequestNote, ...] = ()
