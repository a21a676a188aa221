"""What the coordinator knows of a run and of each worker in it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worthit.contract.manifest import Worker
from worthit.contract.plan import Plan
from worthit.load.coordination.assignment import Assignment
from worthit.load.coordination.messages import Progress, StepDriven
from worthit.load.requests.counters import Histogram, StepTotals


@dataclass(slots=True)
class WorkerState:
    """One worker, as it last reported."""

    last_heard: float = 0.0
    index: int = 0
    """Its number, which no other worker ever had."""
    recording: bool = False
    """Whether it has rows that are not closed."""
    sending_spans: bool = False
    """Whether it still sends its last client spans; the master's end would end it too."""
    has_left: bool = False
    """Whether it has stopped recording while the run went on."""
    silence_noted: bool = False
    driven: dict[int, StepDriven] = field(default_factory=dict)
    """By step."""
    requests: int = 0
    """Requests it has counted."""
    check: Worker | None = None
    """How its process fared; None before it reported of the run."""
    running: int = 0
    rows_lost: int = 0
    """Rows that it could not write."""
    notes: dict[str, int] = field(default_factory=dict)
    """What it says of how many requests."""

    def new_run(self, now: float) -> None:
        """Forget the last run."""
        self.last_heard = now
        self.has_left = self.silence_noted = False
        self.driven = {}
        self.check = None
        self.notes = {}
        self.requests = self.running = self.rows_lost = 0

    def heard(self, now: float, report: Progress) -> None:
        """Note that it has reported."""
        self.last_heard = now
        self.recording = report.recording
        self.sending_spans = report.sending_spans
        self.rows_lost = max(self.rows_lost, report.rows_lost)
        self.notes = report.notes

    def silent_s(self, now: float) -> float:
        """Return for how long it has not been heard."""
        return now - self.last_heard


@dataclass(slots=True, kw_only=True)
class Run:
    """One run of a plan."""

    number: int
    plan: Plan
    assignment: Assignment
    t0_ns: int
    classes: list[str]
    out: Path | None
    max_in_flight: int
    client_spans: bool
    calibrate: bool = False
    """Whether the workers measure first what they themselves add to a response time."""
    calibration: Histogram = field(default_factory=Histogram)
    """What they found."""
    workers: dict[str, WorkerState] = field(default_factory=dict)
    steps: dict[int, StepTotals] = field(default_factory=dict)
    last_sent_ns: dict[int, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """Which workers came and went, in words."""
    ended: bool = False
    stopped_early: bool = False
    until_ns: int | None = None
    """Offset at which it was stopped; None while it runs or when it came to its end."""

    def is_lost(self, name: str) -> bool:
        """Say whether a worker can no longer send, or be known to have sent, what it has.

        Asked at the end of the run: a worker that is still recording has not closed its file.
        """
        worker = self.workers[name]
        owes = self.assignment.owes(name) and not self.stopped_early
        return worker.has_left or worker.recording or owes

    def write_json(self, name: str, document: dict[str, Any]) -> None:
        """Write a file of the run's folder, if it has one: the file is whole or not there."""
        if self.out is None:
            return
        partial = self.out / f"{name}.partial"
        partial.write_text(json.dumps(document, indent=1), encoding="utf-8")
        partial.replace(self.out / name)
