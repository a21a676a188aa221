"""What the conductor knows of a run and of each worker in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worthit.contract.plan import Plan
from worthit.load.coordination.assignment import Dealing
from worthit.load.coordination.progress_page import CrossCheck
from worthit.load.requests.counters import StepTally


@dataclass(slots=True)
class Member:
    """One worker, as it last reported."""

    last_heard: float = 0.0
    index: int = 0
    """Its number, which no other worker ever had."""
    recording: bool = False
    """Whether it has rows that are not closed."""
    journal: CrossCheck | None = None
    journal_asked: bool = False
    driven: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)
    """By step: arrivals sent, arrivals dropped, most in flight, hits of the cap."""
    requests: int = 0
    """Requests it has counted."""
    check: dict[str, Any] = field(default_factory=dict)
    running: int = 0
    rows_lost: int = 0
    """Rows that it could not write."""

    def new_run(self, now: float) -> None:
        """Forget the last run."""
        self.last_heard = now
        self.driven = {}
        self.check = {}
        self.requests = self.running = self.rows_lost = 0

    def heard(self, now: float, report: dict[str, Any]) -> None:
        """Note that it has reported."""
        self.last_heard = now
        self.recording = report["recording"]
        self.rows_lost = max(self.rows_lost, report["rows_lost"])

    def silent_s(self, now: float) -> float:
        """Return for how long it has not been heard."""
        return now - self.last_heard

    @property
    def is_dead(self) -> bool:
        """Whether its process is known to have ended."""
        return self.journal is not None and self.journal.dead


@dataclass(slots=True, kw_only=True)
class Run:
    """One run of a plan."""

    number: int
    plan: Plan
    dealing: Dealing
    t0_ns: int
    classes: list[str]
    out: Path | None
    max_in_flight: int
    client_spans: bool
    members: dict[str, Member] = field(default_factory=dict)
    steps: dict[int, StepTally] = field(default_factory=dict)
    last_sent_ns: dict[int, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """Which workers came and went, in words."""
    ended: bool = False
    stopped_early: bool = False
    until_ns: int | None = None
    """Offset at which it was stopped; None while it runs or when it came to its end."""
