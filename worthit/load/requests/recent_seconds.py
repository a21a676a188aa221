"""The last minutes of a test, second by second, over all workers: what the live page shows."""

from __future__ import annotations

from collections import deque
from typing import Any

from worthit.load.requests.counters import unpack_into
from worthit.load.requests.histogram import Histogram
from worthit.load.requests.request_log import StepCounts

KEPT_SECONDS = 600
PERCENTS = (50, 95, 99)
_SAMPLE_SECONDS = 1.0
_GONE_AFTER_SECONDS = 3.0


class Live:
    """Adds up the workers' reports and takes a sample every second."""

    def __init__(self) -> None:
        self.samples: deque[dict[str, Any]] = deque(maxlen=KEPT_SECONDS)
        self.totals: dict[int, StepCounts] = {}
        """Everything since the test began, by step; warm-up blocks are the step -1 - step."""
        self._fresh = StepCounts()
        self._lags = Histogram()
        self._sent = 0
        self.due = 0
        """How many arrivals the schedule wanted so far; the conductor keeps it."""
        self._due_before = 0
        self._before: dict[tuple[str, str], int] = {}
        self._in_flight: dict[str, int] = {}
        self._cpu: dict[str, float] = {}
        self._heard: dict[str, float] = {}
        self._last = 0.0

    def clear(self) -> None:
        """Forget the last test."""
        self.samples.clear()
        self.totals.clear()
        self._fresh = StepCounts()
        self.due = self._due_before = 0

    def add(self, name: str, message: dict[str, Any]) -> None:
        """Add one worker's report."""
        for step, packed in message.get("fresh", []):
            unpack_into(self._fresh, packed)
            unpack_into(self.totals.setdefault(step, StepCounts()), packed)
        if "begun" in message:
            self._sent += self._grown(name, "begun", message["begun"])
            pairs, max_ns = message["lags"]
            self._lags.merge(((int(bucket), int(count)) for bucket, count in pairs), max_ns)
        self._in_flight[name] = message["in_flight"]
        self._cpu[str(message["worker"])] = message["cpu_share"]
        self._heard[name] = self._last

    def _grown(self, name: str, what: str, count: int) -> int:
        """Return how much a worker's count grew; one that starts anew counts from 0 again."""
        before = self._before.get((name, what), 0)
        self._before[name, what] = count
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
        lags, self._lags = self._lags, Histogram()
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
                "lag_p99": lags.percentile_ms(99),
                "service": [fresh.service.percentile_ms(percent) for percent in PERCENTS],
                "response": [fresh.response.percentile_ms(percent) for percent in PERCENTS],
            }
        )

    def as_json(self, after: float) -> dict[str, Any]:
        """Return the samples later than ``after`` and the workers' CPU shares."""
        return {
            "samples": [sample for sample in self.samples if sample["t"] > after],
            "first": self.samples[0]["t"] if self.samples else None,
            "cpu": self._cpu,
        }
