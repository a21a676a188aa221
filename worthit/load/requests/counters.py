"""What all workers' reports add up to: offered and achieved rate, lag, times."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from worthit.contract.plan import Plan
from worthit.load.requests.histogram import Histogram
from worthit.load.requests.request_log import StepCounts

HISTOGRAMS = ("lag", "service", "response")
GRACE_SECONDS = 0.1
"""A block may end this late before its rate counts as missed: its lag says the rest."""


@dataclass(slots=True)
class StepTally:
    """One step so far; warm-up blocks are the step -1 - step."""

    sent: int = 0
    dropped: int = 0
    unknown: int = 0
    """Perhaps sent, by a worker that was lost."""
    requests: int = 0
    errors: int = 0
    in_flight_max: dict[str, int] = field(default_factory=dict)
    cap_hits: int = 0
    lag: Histogram = field(default_factory=Histogram)
    service: Histogram = field(default_factory=Histogram)
    response: Histogram = field(default_factory=Histogram)


def pack(counts: StepCounts) -> dict[str, Any]:
    """Return counts and histograms as a message that ``unpack_into`` adds up."""
    message: dict[str, Any] = {"requests": counts.requests, "errors": counts.errors}
    for name in HISTOGRAMS:
        histogram: Histogram = getattr(counts, name)
        message[name] = [[list(pair) for pair in histogram.pairs()], histogram.max_ns]
    return message


def unpack_into(tally: StepTally | StepCounts, message: dict[str, Any]) -> None:
    """Add one worker's message to a tally."""
    tally.requests += message["requests"]
    tally.errors += message["errors"]
    for name in HISTOGRAMS:
        pairs, max_ns = message[name]
        histogram: Histogram = getattr(tally, name)
        histogram.merge(((int(bucket), int(count)) for bucket, count in pairs), max_ns)


def step_rows(
    plan: Plan,
    due: dict[int, int],
    steps: dict[int, StepTally],
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
        tally = steps.get(step, StepTally())
        ends = {block.block: min(round(block.end_s * 1e9), until_ns) for block in blocks}
        duration_s = sum(max(ends[block.block] / 1e9 - block.start_s, 0.0) for block in blocks)
        overruns = (last_sent_ns.get(number, 0) - end for number, end in ends.items())
        overrun_s = sum(max(overrun / 1e9 - GRACE_SECONDS, 0.0) for overrun in overruns)
        planned = sum(due.get(block.block, 0) for block in blocks)
        rows.append(
            {
                "step": step,
                "offered_per_s": planned / duration_s if duration_s else 0.0,
                "achieved_per_s": tally.sent / (duration_s + overrun_s) if duration_s else 0.0,
                "arrivals_planned": planned,
                "arrivals_sent": tally.sent,
                "unknown": tally.unknown,
                "dropped": max(planned - tally.sent - tally.unknown, 0),
                "lag_p50_ms": tally.lag.percentile_ms(50),
                "lag_p99_ms": tally.lag.percentile_ms(99),
                "lag_max_ms": tally.lag.percentile_ms(100),
                "in_flight_max": sum(tally.in_flight_max.values()),
                "in_flight_cap_hits": tally.cap_hits,
                "requests": tally.requests,
                "errors": tally.errors,
                "service_ms": percentiles(tally.service),
                "response_ms": percentiles(tally.response),
            }
        )
    return rows


def percentiles(histogram: Histogram) -> dict[str, float | None]:
    """Return p50, p95, p99 and p100 in ms, None of no values."""
    return {f"p{percent}": histogram.percentile_ms(percent) for percent in (50, 95, 99, 100)}
