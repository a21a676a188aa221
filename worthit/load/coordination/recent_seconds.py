"""The last minutes of a test by second, over all workers, for the live page."""

from __future__ import annotations

from collections import deque
from typing import Any

from worthit.load.coordination.messages import Progress
from worthit.load.requests.counters import Histogram, StepCounts

_KEPT_SECONDS = 600
_PERCENTS = (50, 95, 99)
_SAMPLE_SECONDS = 1.0
_GONE_AFTER_SECONDS = 3.0


class RecentSeconds:
    """Adds up the workers' reports and takes a sample every second, for the live page."""

    def __init__(self) -> None:
        self.samples: deque[dict[str, Any]] = deque(maxlen=_KEPT_SECONDS)
        self.totals: dict[int, StepCounts] = {}
        """Everything since the test began, by ``Block.step_key``."""
        self._fresh = StepCounts()
        self._delays = Histogram()
        self._sent = 0
        self.due = 0
        """How many arrivals the schedule wanted so far; the coordinator keeps it."""
        self._due_before = 0
        self._begun_before: dict[str, int] = {}
        self._in_flight: dict[str, int] = {}
        self._cpu: dict[str, float] = {}
        self._heard: dict[str, float] = {}
        self._last = 0.0

    @property
    def recorded(self) -> int:
        """Requests and events recorded since the test began."""
        return sum(counts.requests for counts in self.totals.values())

    def clear(self) -> None:
        """Forget the last test."""
        self.samples.clear()
        self.totals.clear()
        self._fresh = StepCounts()
        self.due = self._due_before = 0

    def add(self, name: str, report: Progress) -> None:
        """Add one worker's report."""
        counted = report.counted
        if counted is not None:
            for step, counts in counted.fresh.items():
                self._fresh.add(counts)
                self.totals.setdefault(step, StepCounts()).add(counts)
            self._sent += self._grown(name, counted.begun)
            self._delays.merge(counted.delays)
        self._in_flight[name] = report.in_flight
        self._cpu[str(report.worker)] = report.cpu_share
        self._heard[name] = self._last

    def _grown(self, name: str, count: int) -> int:
        """Return how much a worker's count grew; one that starts anew counts from 0 again."""
        before = self._begun_before.get(name, 0)
        self._begun_before[name] = count
        return count - before if count >= before else count

    def sample(self, now: float, *, scheduled: bool) -> None:
        """Take a sample if a second has passed since the last; ``now`` in s since the epoch."""
        if not self._last:
            self._last = now
        passed = now - self._last
        if passed < _SAMPLE_SECONDS:
            return
        self._last = now
        fresh, self._fresh = self._fresh, StepCounts()
        delays, self._delays = self._delays, Histogram()
        sent, self._sent = self._sent, 0
        due, self._due_before = self.due - self._due_before, self.due
        in_flight = sum(
            number
            for name, number in self._in_flight.items()
            if now - self._heard[name] < _GONE_AFTER_SECONDS
        )
        if not fresh.requests and not sent and not in_flight and not due:
            return
        self.samples.append(
            {
                "t": now,
                "offered": due / passed if scheduled else None,
                "achieved": sent / passed,
                "errors": fresh.errors / passed,
                "in_flight": in_flight,
                "delay_p99": delays.percentile_ms(99),
                "service": [fresh.service.percentile_ms(percent) for percent in _PERCENTS],
                "response": [fresh.response.percentile_ms(percent) for percent in _PERCENTS],
            }
        )

    def as_json(self, after: float) -> dict[str, Any]:
        """Return the samples later than ``after`` and the workers' CPU shares."""
        return {
            "samples": [sample for sample in self.samples if sample["t"] > after],
            "first": self.samples[0]["t"] if self.samples else None,
            "cpu": self._cpu,
        }
