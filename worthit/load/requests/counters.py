"""Counts of requests: percentiles of one process, sums over all workers, and the last minutes.

A histogram costs the same however many values go in. Its buckets grow by 0.5 %, so a percentile
read from one is within 0.25 % of the true value (the idea of HdrHistogram, with logarithms instead
of bit patterns because the values arrive as arrays). Histograms of several workers add up exactly.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worthit.contract.plan import Plan

GROWTH = 1.005
"""Each bucket is this much wider than the one before."""
RELATIVE_ERROR = 0.0025
"""The largest relative error of a percentile: half a bucket."""
_SMALLEST_NS = 1_000
"""Values below 1 microsecond count as 1 microsecond: no clock here says more."""
_LOG_GROWTH = math.log(GROWTH)
_HISTOGRAMS = ("delay", "delay_apart", "service", "response")
_GRACE_SECONDS = 0.1
"""A block may end this late before its rate counts as missed: its schedule delay says the rest."""
_KEPT_SECONDS = 600
_PERCENTS = (50, 95, 99)
_SAMPLE_SECONDS = 1.0
_GONE_AFTER_SECONDS = 3.0


class Histogram:
    """Counts of durations in ns by logarithmic bucket, with the exact maximum."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.max_ns = 0

    def add(self, values_ns: NDArray[np.int64]) -> None:
        """Count an array of durations in ns; negative ones count as the smallest."""
        if not len(values_ns):
            return
        clipped = np.maximum(values_ns, _SMALLEST_NS)
        buckets = np.floor(np.log(clipped / _SMALLEST_NS) / _LOG_GROWTH).astype(np.int64)
        for bucket, count in zip(*np.unique(buckets, return_counts=True), strict=True):
            self._counts[int(bucket)] = self._counts.get(int(bucket), 0) + int(count)
        self.count += len(values_ns)
        self.max_ns = max(self.max_ns, int(values_ns.max()))

    def packed(self) -> list[Any]:
        """Return the histogram as a message: the filled buckets in order, and the maximum."""
        return [[list(pair) for pair in sorted(self._counts.items())], self.max_ns]

    def merge(self, packed: list[Any]) -> None:
        """Add another histogram, given as ``packed`` returned it."""
        pairs, max_ns = packed
        for bucket, count in pairs:
            self._counts[bucket] = self._counts.get(bucket, 0) + count
            self.count += count
        self.max_ns = max(self.max_ns, max_ns)

    def percentile_ms(self, percent: float) -> float | None:
        """Return the smallest duration, in ms, that ``percent`` of the values do not exceed.

        None of no values.
        """
        if not self.count:
            return None
        wanted = max(math.ceil(self.count * percent / 100.0), 1)
        if wanted == self.count:
            return self.max_ns / 1e6
        seen = 0
        for bucket, count in sorted(self._counts.items()):
            seen += count
            if seen >= wanted:
                middle = _middle_ns(bucket)
                return min(middle, float(max(self.max_ns, _SMALLEST_NS))) / 1e6
        return self.max_ns / 1e6


def _middle_ns(bucket: int) -> float:
    return _SMALLEST_NS * math.exp((bucket + 0.5) * _LOG_GROWTH)


@dataclass(slots=True)
class StepCounts:
    """What one step's requests add up to; ``Block.step_key`` keeps warm-ups apart."""

    requests: int = 0
    errors: int = 0
    delay: Histogram = field(default_factory=Histogram)
    """To the socket, from the intended send."""
    delay_apart: Histogram = field(default_factory=Histogram)
    """The same without what was sent into a flood of answers after a stall of the service."""
    service: Histogram = field(default_factory=Histogram)
    response: Histogram = field(default_factory=Histogram)


@dataclass(slots=True)
class StepTotals(StepCounts):
    """One step over all workers."""

    sent: int = 0
    in_flight_max: int = 0
    cap_hits: int = 0


def pack(counts: StepCounts) -> dict[str, Any]:
    """Return counts and histograms as a message that ``unpack_into`` adds up."""
    histograms = {name: getattr(counts, name).packed() for name in _HISTOGRAMS}
    return {"requests": counts.requests, "errors": counts.errors, **histograms}


def unpack_into(counts: StepCounts, message: dict[str, Any]) -> None:
    """Add one worker's message."""
    counts.requests += message["requests"]
    counts.errors += message["errors"]
    for name in _HISTOGRAMS:
        getattr(counts, name).merge(message[name])


def step_rows(
    plan: Plan,
    due: dict[int, int],
    steps: dict[int, StepTotals],
    last_sent_ns: dict[int, int],
    until_ns: int,
) -> list[dict[str, Any]]:
    """Return the manifest's ``generator`` rows.

    ``due`` is the number of arrivals by block that were due until ``until_ns``, ``last_sent_ns``
    the offset of the last send by block. The achieved rate is arrivals sent over the step's time
    including what it took too long.
    """
    rows = []
    for step in sorted({block.step for block in plan.blocks if not block.warmup}):
        blocks = [block for block in plan.blocks if block.step == step and not block.warmup]
        totals = steps.get(step, StepTotals())
        ends = {block.block: min(round(block.end_s * 1e9), until_ns) for block in blocks}
        duration_s = sum(max(ends[block.block] / 1e9 - block.start_s, 0.0) for block in blocks)
        overruns = (last_sent_ns.get(number, 0) - end for number, end in ends.items())
        overrun_s = sum(max(overrun / 1e9 - _GRACE_SECONDS, 0.0) for overrun in overruns)
        planned = sum(due.get(block.block, 0) for block in blocks)
        rows.append(
            {
                "step": step,
                "offered_per_s": planned / duration_s if duration_s else 0.0,
                "achieved_per_s": totals.sent / (duration_s + overrun_s) if duration_s else 0.0,
                "arrivals_planned": planned,
                "arrivals_sent": totals.sent,
                "dropped": max(planned - totals.sent, 0),
                "lag_p50_ms": totals.delay.percentile_ms(50),
                "lag_p99_ms": totals.delay.percentile_ms(99),
                "lag_max_ms": totals.delay.percentile_ms(100),
                "lag_apart_p99_ms": totals.delay_apart.percentile_ms(99),
                "own_p99_ms": None,
                "sent_into_floods": totals.delay.count - totals.delay_apart.count,
                "in_flight_max": totals.in_flight_max,
                "in_flight_cap_hits": totals.cap_hits,
                "requests": totals.requests,
                "errors": totals.errors,
                "service_ms": percentiles(totals.service),
                "response_ms": percentiles(totals.response),
            }
        )
    return rows


def percentiles(histogram: Histogram) -> dict[str, float | None]:
    """Return p50, p95, p99 and p100 in ms, None of no values."""
    return {f"p{percent}": histogram.percentile_ms(percent) for percent in (50, 95, 99, 100)}


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
        self._before: dict[tuple[str, str], int] = {}
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

    def add(self, name: str, message: dict[str, Any]) -> None:
        """Add one worker's report."""
        for step, packed in message.get("fresh", []):
            unpack_into(self._fresh, packed)
            unpack_into(self.totals.setdefault(step, StepCounts()), packed)
        if "begun" in message:
            self._sent += self._grown(name, "begun", message["begun"])
            self._delays.merge(message["delays"])
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
