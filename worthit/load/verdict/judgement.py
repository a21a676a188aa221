"""What speaks against a run, as the load itself can tell: what makes it SUSPECT or INVALID.

The limits are those of the run's verdict (``analysis.checks.run_checks``), which sees the same
figures and more: they are written again here because a load generator cannot wait for pandas. A
test holds the two against each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

LEAST_ACHIEVED = 0.99
"""Achieved over offered rate below which the rate was missed: one per cent, as in the report."""
LAG_VALID_MS, LAG_SUSPECT_MS = 5.0, 50.0
"""Lag p99 up to the first is VALID, up to the second SUSPECT, beyond it INVALID."""
LAG_VALID_SHARE, LAG_SUSPECT_SHARE = 0.005, 0.05
"""As above, as shares of the step's median response time; the larger limit holds."""
WORKER_CPU_SUSPECT = 0.9
"""Share of its core at which a worker is about to queue its own arrivals."""
UNENDED_INVALID_SHARE = 0.05
"""Part of a run's requests whose answers are lost with a worker, beyond which p95 is unknown."""
_MS_PER_S = 1e3
_REPEAT = "a worker was lost; repeat the run."
_REMEDY = "use more workers, a lower rate or a higher --max-in-flight."


@dataclass(slots=True)
class Judgement:
    """What speaks against a run."""

    invalid: list[str] = field(default_factory=list)
    suspect: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> Literal["VALID", "SUSPECT", "INVALID"]:
        """The worst of it decides."""
        if self.invalid:
            return "INVALID"
        return "SUSPECT" if self.suspect else "VALID"

    def as_json(self) -> dict[str, Any]:
        """Return it as generator.json keeps it."""
        return {"verdict": self.verdict, "reasons": [*self.invalid, *self.suspect]}


def judge(report: dict[str, Any]) -> Judgement:
    """Hold a run's own figures against the limits."""
    found = Judgement()
    if report["stopped_early"]:
        found.invalid.append(
            "The run was stopped before its schedule ended; "
            "what was recorded is not the run that was planned."
        )
    for row in report["generator"]:
        _about_rate(row, _REPEAT if report["lost_workers"] else _REMEDY, found)
        _about_delay(row, found)
    _about_lost_workers(report, found)
    about_lost_rows(report["rows_lost"], found)
    for worker in report["workers"]:
        if worker["cpu_share_max"] >= WORKER_CPU_SUSPECT:
            found.suspect.append(
                f"Worker {worker['worker']} used {worker['cpu_share_max']:.0%} of its core, at or "
                f"above {WORKER_CPU_SUSPECT:.0%}: it is about to send late; use more workers."
            )
    return found


def about_lost_rows(count: int, found: Judgement) -> None:
    """Say it when the disk did not take all: what is recorded is not what was sent."""
    if count:
        found.invalid.append(
            f"{count} requests were sent and could not be recorded; free some space for the "
            "folder of --worthit-out, or name another."
        )


def _about_rate(row: dict[str, Any], remedy: str, found: Judgement) -> None:
    step, planned = row["step"], row["arrivals_planned"]
    if row["dropped"]:
        found.invalid.append(
            f"Step {step}: {row['dropped']} of {planned} arrivals were not sent; {remedy}"
        )
    elif row["achieved_per_s"] < LEAST_ACHIEVED * row["offered_per_s"]:
        found.invalid.append(
            f"Step {step}: {row['offered_per_s']:.1f} arrivals/s were offered and "
            f"{row['achieved_per_s']:.1f}/s achieved, less than {LEAST_ACHIEVED:.0%}; {remedy}"
        )
    if row["in_flight_cap_hits"]:
        found.suspect.append(
            f"Step {step}: the cap on requests in flight was reached {row['in_flight_cap_hits']} "
            "times, so the loop was not open; raise --max-in-flight."
        )


def _about_delay(row: dict[str, Any], found: Judgement) -> None:
    delay, median = row["lag_p99_ms"], row["response_ms"]["p50"] or 0.0
    valid = max(LAG_VALID_MS, LAG_VALID_SHARE * median)
    suspect = max(LAG_SUSPECT_MS, LAG_SUSPECT_SHARE * median)
    if delay is None or delay <= valid:
        return
    sentences, limit = (found.invalid, suspect) if delay > suspect else (found.suspect, valid)
    sentences.append(
        f"Step {row['step']}: arrivals were sent late, schedule delay p99 {in_ms(delay)} (at most "
        f"{in_ms(row['lag_max_ms'])}), above {in_ms(limit)}: the generator stood still or was "
        "short of CPU, or its cap held requests back; use more workers or a lower rate, and leave "
        "each a core of its own."
    )


def _about_lost_workers(report: dict[str, Any], found: Judgement) -> None:
    for worker in report["lost_workers"]:
        found.invalid.append(
            f"Worker {worker['worker']} was lost: {worker['not_sent']} arrivals that it was "
            f"assigned were not sent, as far as it had reported, and {worker['not_recorded']} "
            "requests that it had sent were not recorded; repeat the run."
        )


def in_ms(value: float | None) -> str:
    """Return a duration in ms for people, in s when it is long; a dash for None."""
    if value is None:
        return "-"
    return f"{value / _MS_PER_S:.2f} s" if value >= _MS_PER_S else f"{value:.3g} ms"
