"""What the coordinator and the workers send each other, and how it travels.

Locust packs messages with msgpack, which knows numbers, texts, lists and dictionaries with any
keys: ``to_wire`` gives these, ``from_wire`` takes them, and nothing else looks into a message.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from worthit.contract import plan
from worthit.contract.manifest import Worker
from worthit.load.coordination.assignment import Share
from worthit.load.requests.counters import Histogram, StepCounts

CLOSE = "worthit_close"
"""Coordinator to worker, without content: end, and report for the last time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Coordinator to worker: the plan, and when it begins."""

    NAME: ClassVar = "worthit_begin"

    number: int
    """Of the run: which of the coordinator's it is."""
    plan: plan.Plan
    t0_ns: int
    """The schedule's zero, in ns since the epoch."""
    classes: list[str]
    """Of the users whose arrivals are sent."""
    out: Path | None
    """The folder for recorded rows, None for nowhere."""
    max_in_flight: int
    client_spans: bool
    calibrate_per_s: float | None
    """The rate at which to calibrate first, None not to."""

    def to_wire(self) -> dict[str, Any]:
        """Give the message as msgpack takes it."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        out = str(self.out) if self.out else None
        return {**fields, "plan": self.plan.as_json(), "out": out}

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> Begin:
        """Read what ``to_wire`` gave."""
        out = Path(data["out"]) if data["out"] else None
        return cls(**{**data, "plan": plan.parse(data["plan"]), "out": out})


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """Coordinator to worker: the next part of the schedule that is its own."""

    NAME: ClassVar = "worthit_share"

    number: int
    """Of the run."""
    share: Share

    def to_wire(self) -> dict[str, Any]:
        """Give the message as msgpack takes it."""
        return asdict(self)

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> Assigned:
        """Read what ``to_wire`` gave."""
        return cls(number=data["number"], share=Share(**data["share"]))


@dataclass(slots=True)
class StepDriven:
    """What was done with one step's arrivals (``Block.step_key`` keeps warm-ups apart)."""

    sent: int = 0
    in_flight_max: int = 0
    cap_hits: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Driven:
    """How far a worker has come with its part of a plan."""

    shares_begun: int
    """Shares of which every arrival has begun."""
    last_begun: int
    """The number, within the plan, of the last arrival that has begun."""
    running: int
    """Arrivals under way."""
    steps: dict[int, StepDriven] = field(default_factory=dict)
    """By ``Block.step_key``, since the run began."""
    last_sent_ns: dict[int, int] = field(default_factory=dict)
    """By block: the offset of its last send from the schedule's zero."""
    calibration: Histogram | None = None
    """What the worker found, told once."""

    def to_wire(self) -> dict[str, Any]:
        """Give it as msgpack takes it."""
        return {
            **{name: getattr(self, name) for name in self.__slots__},
            "steps": {step: asdict(done) for step, done in self.steps.items()},
            "calibration": None if self.calibration is None else self.calibration.to_wire(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What a worker has recorded."""

    begun: int
    """Requests since it began to record."""
    delays: Histogram
    """Schedule delays since the last report."""
    fresh: dict[int, StepCounts]
    """What ended since the last report, by ``Block.step_key``."""
    driven: Driven | None
    """None where no plan is followed."""

    def to_wire(self) -> dict[str, Any]:
        """Give it as msgpack takes it."""
        return {
            "begun": self.begun,
            "delays": self.delays.to_wire(),
            "fresh": {step: counts.to_wire() for step, counts in self.fresh.items()},
            "driven": None if self.driven is None else self.driven.to_wire(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Worker to coordinator: how far it is, and what it has counted since."""

    NAME: ClassVar = "worthit_progress"

    number: int
    """Of the run that it follows; -1 before the first."""
    worker: int
    """The number of the worker, which no other of the run ever had."""
    recording: bool
    """Whether it has rows that are not closed."""
    sending_spans: bool
    """Whether it still sends its last client spans; the master's end would end it too."""
    check: Worker
    """How the process fared, as the manifest keeps it."""
    cpu_share: float
    """1.0 for one whole core, in the last second."""
    in_flight: int = 0
    rows_lost: int = 0
    """Rows that it could not write."""
    notes: dict[str, int] = field(default_factory=dict)
    """What it says of how many requests."""
    counted: Counted | None = None
    """None where nothing was ever recorded."""

    def to_wire(self) -> dict[str, Any]:
        """Give the message as msgpack takes it.

        Four times per second, in a moment in which arrivals may be due: ``asdict`` would take 2 ms
        to look into every bucket of every histogram.
        """
        return {
            **{name: getattr(self, name) for name in self.__slots__},
            "check": asdict(self.check),
            "counted": None if self.counted is None else self.counted.to_wire(),
        }

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> Progress:
        """Read what ``to_wire`` gave."""
        counted = data["counted"]
        return cls(
            **{
                **data,
                "check": Worker(**data["check"]),
                "counted": None if counted is None else _counted(counted),
            }
        )


def _counted(data: dict[str, Any]) -> Counted:
    driven = data["driven"]
    return Counted(
        begun=data["begun"],
        delays=Histogram(**data["delays"]),
        fresh={step: StepCounts.from_wire(counts) for step, counts in data["fresh"].items()},
        driven=None if driven is None else _driven(driven),
    )


def _driven(data: dict[str, Any]) -> Driven:
    calibration = data["calibration"]
    steps = {step: StepDriven(**done) for step, done in data["steps"].items()}
    calibration = None if calibration is None else Histogram(**calibration)
    return Driven(**{**data, "steps": steps, "calibration": calibration})
