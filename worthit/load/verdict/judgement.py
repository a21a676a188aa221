"""What speaks against a run, as the load itself can tell: what makes it SUSPECT or INVALID.

The run's own verdict (``analysis.checks.run_checks``) sees the same figures and more, and judges
by the same limits (``worthit.contract.limits``).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, Literal

from worthit.contract.limits import (
    RATE_VALID_SHARE,
    WORKER_CPU_SUSPECT,
    lag_limits_ms,
    own_limit_ms,
)
from worthit.contract.manifest import Generator, LoadReport, Percentiles

_LEAST_ACHIEVED = 1 - RATE_VALID_SHARE
_MS_PER_S = 1e3
_REPEAT = "a worker was lost; repeat the run."
_REMEDY = "use more workers, a lower rate or a higher --max-in-flight."


@dataclass(slots=True)
class Judgement:
    """What speaks against a run."""

    invalid: list[str] = field(default_factory=list)
    suspect: list[str] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)
    """What looks like the generator's fault and is the service's."""

    @property
    def verdict(self) -> Literal["VALID", "SUSPECT", "INVALID"]:
        """The worst of it decides."""
        if self.invalid:
            return "INVALID"
        return "SUSPECT" if self.suspect else "VALID"

    def log(self, logger: logging.Logger) -> None:
        """Say it, the worst last."""
        sentences = (
            (logging.INFO, self.explained),
            (logging.WARNING, self.suspect),
            (logging.ERROR, self.invalid),
        )
        for level, said in sentences:
            for sentence in said:
                logger.log(level, "%s", sentence)

    def as_json(self) -> dict[str, Any]:
        """Return it as generator.json keeps it."""
        return {
            "verdict": self.verdict,
            "reasons": [*self.invalid, *self.suspect],
            "explained": self.explained,
        }


def judge(report: LoadReport) -> Judgement:
    """Hold a run's own figures against the limits."""
    found = Judgement()
    if report.stopped_early:
        found.invalid.append(
            "The run was stopped before its schedule ended; "
            "what was recorded is not the run that was planned."
        )
    for row in report.generator:
        _about_rate(row, _REPEAT if report.lost_workers else _REMEDY, found)
        _about_delay(row, found)
        _about_own_part(row, found)
    _about_lost_workers(report, found)
    about_lost_rows(report.rows_lost, found)
    for note in report.notes:
        found.suspect.append(note_in_words(note.requests, note.what))
    for worker in report.workers:
        share = worker.cpu_share_max or 0.0
        if share >= WORKER_CPU_SUSPECT:
            found.suspect.append(
                f"Worker {worker.worker} used {share:.0%} of its core, at or "
                f"above {WORKER_CPU_SUSPECT:.0%}: it is about to send late; use more workers."
            )
    return found


def note_in_words(count: int, what: str) -> str:
    """Return what is to be said of some requests as a sentence."""
    return f"{count} {'requests' if count > 1 else 'request'} {what}."


def about_lost_rows(count: int, found: Judgement) -> None:
    """Say it when the disk did not take all: what is recorded is not what was sent."""
    if count:
        found.invalid.append(
            f"{count} requests were sent and could not be recorded; free some space for the "
            "folder of --worthit-out, or name another."
        )


def _about_rate(row: Generator, remedy: str, found: Judgement) -> None:
    step, planned = row.step, row.arrivals_planned
    if row.dropped:
        found.invalid.append(
            f"Step {step}: {row.dropped} of {planned} arrivals were not sent; {remedy}"
        )
    elif row.achieved_per_s < _LEAST_ACHIEVED * row.offered_per_s:
        found.invalid.append(
            f"Step {step}: {row.offered_per_s:.1f} arrivals/s were offered and "
            f"{row.achieved_per_s:.1f}/s achieved, less than {_LEAST_ACHIEVED:.0%}; {remedy}"
        )
    if row.in_flight_cap_hits:
        found.suspect.append(
            f"Step {step}: the cap on requests in flight was reached {row.in_flight_cap_hits} "
            "times, so the loop was not open; raise --max-in-flight."
        )


def _about_delay(row: Generator, found: Judgement) -> None:
    delay = row.lag_p99_ms
    valid, suspect = lag_limits_ms((row.response_ms or Percentiles()).p50 or 0.0)
    if delay is None or delay <= valid:
        return
    apart = row.lag_apart_p99_ms
    if row.sent_into_floods and apart is not None and apart <= valid:
        found.explained.append(
            f"Step {row.step}: schedule delay p99 {in_ms(delay)} is the service's doing: it "
            "answered nothing while requests went out on time, then many at once, and "
            f"{row.sent_into_floods} arrivals were sent within 0.5 s of that. Of all others it "
            f"is {in_ms(apart)}."
        )
        return
    sentences, limit = (found.invalid, suspect) if delay > suspect else (found.suspect, valid)
    sentences.append(
        f"Step {row.step}: arrivals were sent late, schedule delay p99 {in_ms(delay)} (at most "
        f"{in_ms(row.lag_max_ms)}), above {in_ms(limit)}: the generator stood still or was "
        "short of CPU, or its cap held requests back; use more workers or a lower rate, and leave "
        "each a core of its own."
    )


def _about_own_part(row: Generator, found: Judgement) -> None:
    own, p99 = row.own_p99_ms, (row.response_ms or Percentiles()).p99
    limit = own_limit_ms(p99 or 0.0)
    if own is not None and own > limit:
        found.suspect.append(
            f"Step {row.step}: {in_ms(own)} of the response time's p99 ({in_ms(p99)}) may be "
            "the load's own, as calibrated against a server that answers at once; above "
            f"{in_ms(limit)} it hides the service: use more workers or a lower rate."
        )


def _about_lost_workers(report: LoadReport, found: Judgement) -> None:
    for worker in report.lost_workers:
        found.invalid.append(
            f"Worker {worker.worker} was lost: {worker.not_sent} arrivals that it was "
            f"assigned were not sent, as far as it had reported, and {worker.not_recorded} "
            "requests that it had sent were not recorded; repeat the run."
        )


def in_ms(value: float | None) -> str:
    """Return a duration in ms for people, in s when it is long; a dash for None."""
    if value is None:
        return "-"
    return f"{value / _MS_PER_S:.2f} s" if value >= _MS_PER_S else f"{value:.3g} ms"
