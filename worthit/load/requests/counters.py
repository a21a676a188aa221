"""Counts of requests: percentiles of one process, and sums over all workers.

A histogram costs the same however many values go in. Its buckets grow by 0.5 %, so a percentile
read from one is within 0.25 % of the true value (the idea of HdrHistogram, with logarithms instead
of bit patterns because the values arrive as arrays). Histograms of several workers add up exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worthit.contract.manifest import Generator, Percentiles
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


@dataclass(slots=True)
class Histogram:
    """Counts of durations in ns by logarithmic bucket, with the exact maximum."""

    counts: dict[int, int] = field(default_factory=dict)
    """By bucket; only the filled ones."""
    count: int = 0
    max_ns: int = 0

    def add(self, values_ns: NDArray[np.int64]) -> None:
        """Count an array of durations in ns; negative ones count as the smallest."""
        if not len(values_ns):
            return
        clipped = np.maximum(values_ns, _SMALLEST_NS)
        buckets = np.floor(np.log(clipped / _SMALLEST_NS) / _LOG_GROWTH).astype(np.int64)
        for bucket, count in zip(*np.unique(buckets, return_counts=True), strict=True):
            self.counts[int(bucket)] = self.counts.get(int(bucket), 0) + int(count)
        self.count += len(values_ns)
        self.max_ns = max(self.max_ns, int(values_ns.max()))

    def merge(self, other: Histogram) -> None:
        """Add another histogram."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.count += other.count
        self.max_ns = max(self.max_ns, other.max_ns)

    def to_wire(self) -> dict[str, Any]:
        """Give it as msgpack takes it: a copy, for this one goes on counting."""
        return {"counts": dict(self.counts), "count": self.count, "max_ns": self.max_ns}

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
        for bucket, count in sorted(self.counts.items()):
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

    def add(self, other: StepCounts) -> None:
        """Add what another worker, or the same one later, has counted."""
        self.requests += other.requests
        self.errors += other.errors
        for name in _HISTOGRAMS:
            getattr(self, name).merge(getattr(other, name))

    def to_wire(self) -> dict[str, Any]:
        """Give them as msgpack takes them."""
        histograms = {name: getattr(self, name).to_wire() for name in _HISTOGRAMS}
        return {"requests": self.requests, "errors": self.errors, **histograms}

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> StepCounts:
        """Read what ``to_wire`` gave."""
        return cls(**{**data, **{name: Histogram(**data[name]) for name in _HISTOGRAMS}})


@dataclass(slots=True)
class StepTotals(StepCounts):
    """One step over all workers."""

    sent: int = 0
    in_flight_max: int = 0
    cap_hits: int = 0


def step_rows(
    plan: Plan,
    due: dict[int, int],
    steps: dict[int, StepTotals],
    last_sent_ns: dict[int, int],
    until_ns: int,
) -> list[Generator]:
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
            Generator(
                step=step,
                offered_per_s=planned / duration_s if duration_s else 0.0,
                achieved_per_s=totals.sent / (duration_s + overrun_s) if duration_s else 0.0,
                arrivals_planned=planned,
                arrivals_sent=totals.sent,
                dropped=max(planned - totals.sent, 0),
                lag_p50_ms=totals.delay.percentile_ms(50),
                lag_p99_ms=totals.delay.percentile_ms(99),
                lag_max_ms=totals.delay.percentile_ms(100),
                lag_apart_p99_ms=totals.delay_apart.percentile_ms(99),
                sent_into_floods=totals.delay.count - totals.delay_apart.count,
                in_flight_max=totals.in_flight_max,
                in_flight_cap_hits=totals.cap_hits,
                requests=totals.requests,
                errors=totals.errors,
                service_ms=Percentiles(**percentiles(totals.service)),
                response_ms=Percentiles(**percentiles(totals.response)),
            )
        )
    return rows


def percentiles(histogram: Histogram) -> dict[str, float | None]:
    """Return p50, p95, p99 and p100 in ms, None of no values."""
    return {f"p{percent}": histogram.percentile_ms(percent) for percent in (50, 95, 99, 100)}
