"""What a finished run says of itself: sentences, generator.json and Locust's exit code."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from worthit.contract import thresholds
from worthit.contract.errors import UserMistakeError
from worthit.contract.exit_codes import ExitCode
from worthit.contract.limits import LAG_VALID_MS, lag_limits_ms
from worthit.contract.manifest import Generator, LoadReport, Percentiles
from worthit.contract.tables import REQUESTS, read_stream
from worthit.contract.thresholds import Threshold
from worthit.load.verdict.judgement import Judgement, about_lost_rows, in_ms, judge, note_in_words

if TYPE_CHECKING:
    from worthit.load.coordination.worker_state import Run

_STALLED = 10.0
"""A 99th percentile this many times the median is called a stall or a queue."""
_LATE = 1.05
"""Response over service time from which on being late is part of the story."""
_LOGGER = logging.getLogger("worthit.load")


def parse(texts: Sequence[str]) -> list[Threshold]:
    """Read the thresholds that Locust was given; those that need spans are refused."""
    found = thresholds.parse_all(texts)
    for threshold in found:
        if threshold.needs_spans:
            raise UserMistakeError(
                f"The threshold {threshold.text!r} needs spans, which the load does not have; "
                "give it to `worthit check` with the run directory."
            )
    return found


def conclude(
    report: LoadReport | None,
    *,
    run: Run | None,
    limits: Sequence[Threshold],
    out: Path | None,
    rows_lost: int = 0,
) -> ExitCode:
    """Write generator.json, say how it went, and return the exit code.

    ``rows_lost`` is for a run without a report; a report has them.
    """
    found = Judgement() if report is None else _judged(report, run)
    if report is None:
        about_lost_rows(rows_lost, found)
    crossed = failed = False
    try:
        crossed = _crossed(limits, run, out)
    except UserMistakeError as error:
        _LOGGER.error("%s", error)  # noqa: TRY400 - a sentence for a person, not a traceback
        failed = True
    found.log(_LOGGER)
    if report is not None:
        _LOGGER.info("The load's own verdict: %s.", found.verdict)
    if found.invalid:
        return ExitCode.RUN_INVALID
    if failed:
        return ExitCode.TOOL_FAILED
    return ExitCode.CLAIM_DOES_NOT_HOLD if crossed else ExitCode.DONE


def say_why_nothing_was_recorded(
    *, recorded: int, counted_by_locust: int, notes: Mapping[str, int]
) -> None:
    """Say in one sentence why a test left no rows, if it left none."""
    if recorded:
        return
    if notes:
        why = "; ".join(note_in_words(count, what).rstrip(".") for what, count in notes.items())
    elif counted_by_locust:
        why = (
            f"Locust counted {counted_by_locust}, but none while it was recorded: "
            "is the plugin in the -f of every worker too?"
        )
    else:
        why = (
            "no user made one: Locust's own statistics are empty too. A client that is not one of "
            "Locust's must fire events.request, as Locust's documentation says of other systems"
        )
    _LOGGER.warning("No request was recorded: %s", why if why.endswith("?") else f"{why}.")


def say_notes(notes: Mapping[str, int]) -> None:
    """Say what is to be said of a test that has no verdict."""
    for what, count in notes.items():
        _LOGGER.warning("%s", note_in_words(count, what))


def _judged(report: LoadReport, run: Run | None) -> Judgement:
    """Write generator.json with the verdict, and say of each step how it went."""
    found = judge(report)
    if run is not None:
        try:
            run.write_json("generator.json", {**asdict(report), **found.as_json()})
        except OSError as error:
            found.invalid.append(
                f"generator.json could not be written into {run.out}: {error.strerror}; without "
                "it nobody else can tell how this run went."
            )
    if run is not None and run.calibration.count:
        _LOGGER.info(
            "Against a server that answers at once a request takes p50 %s, p99 %s: so much of a "
            "response time is the load's own.",
            in_ms(run.calibration.percentile_ms(50)),
            in_ms(run.calibration.percentile_ms(99)),
        )
    for row in report.generator:
        totals = None if run is None else run.steps.get(row.step)
        failed = 0 if totals is None else totals.errors
        _LOGGER.info("%s", step_in_words(row))
        _LOGGER.info("%s", times_in_words(row, failed=failed))
        if totals is not None and failed:
            _LOGGER.warning(
                "Step %s: %d of %d requests failed. They count in the times above.",
                row.step, failed, totals.requests,
            )  # fmt: skip
    return found


def _crossed(limits: Sequence[Threshold], run: Run | None, out: Path | None) -> bool:
    if not limits or out is None:
        return False
    requests = _requests(out, run)
    crossed = False
    for threshold in limits:
        held = thresholds.held(threshold, requests)
        within = threshold.holds(held.observed)
        arm = f" of the arm {held.arm}, the worst" if held.arm else ""
        _LOGGER.log(
            logging.INFO if within else logging.ERROR,
            "Threshold %s: %s, it %s.",
            threshold.text,
            f"{held.observed:.6g} in {held.rows} requests{arm}"
            if held.rows
            else "no request to say it of",
            "holds" if within else "is crossed",
        )
        crossed |= not within
    return crossed


def _requests(out: Path, run: Run | None) -> pa.Table:
    """Return the recorded rows without those of warm-up blocks."""
    tables = [read_stream(path) for path in sorted(out.glob("requests-*.arrows"))]
    rows = pa.concat_tables([REQUESTS.empty_table(), *tables])
    if run is None:
        return rows
    expected = sum(totals.requests for totals in run.steps.values())
    if rows.num_rows < expected:
        raise UserMistakeError(
            f"{expected} requests were recorded and {rows.num_rows} of them are in {out}; "
            "thresholds need every worker's rows on the master's machine."
        )
    warmups = [block.block for block in run.plan.blocks if block.warmup]
    is_warmup = pc.is_in(rows["block"], value_set=pa.array(warmups, pa.int32()))
    return rows.filter(pc.invert(is_warmup))


def step_in_words(row: Generator) -> str:
    """Return one step's self-check as a line."""
    return (
        f"Step {row.step}: offered {row.offered_per_s:.2f}/s, achieved "
        f"{row.achieved_per_s:.2f}/s, {row.arrivals_sent} of {row.arrivals_planned} "
        f"arrivals sent, schedule delay p99 {in_ms(row.lag_p99_ms)} (at most "
        f"{in_ms(row.lag_max_ms)}), at most {row.in_flight_max} in flight."
    )


def times_in_words(row: Generator, *, failed: int = 0) -> str:
    """Return one step's response and service time, and what makes the difference, in words.

    ``failed`` of its requests failed: where there are any, nothing is said to show the service.
    """
    response, service = row.response_ms or Percentiles(), row.service_ms or Percentiles()
    if response.p50 is None or response.p99 is None:
        return f"Step {row.step}: no request ended, so there is no response time."
    why = _explanation(
        row, p50=response.p50, p99=response.p99, service_p99=service.p99 or 0.0, failed=failed
    )
    return (
        f"Step {row.step}: response time (from the intended send) {_three(response)}; "
        f"service time (from the actual send) {_three(service)}. {why}"
    )


def _explanation(
    row: Generator, *, p50: float, p99: float, service_p99: float, failed: int
) -> str:
    on_time, _ = lag_limits_ms(p50)
    delay = row.lag_p99_ms or 0.0
    late = p99 > _LATE * service_p99 and delay > LAG_VALID_MS
    if late:
        why = "the cap on requests in flight" if row.in_flight_cap_hits else "the generator"
        return (
            f"They differ because {why} sent late (schedule delay p99 "
            f"{in_ms(row.lag_p99_ms)}): people would have waited the response time, "
            "whatever the service time says."
        )
    if p99 > _STALLED * p50:
        return (
            f"The slowest waited over {p99 / p50:.0f} times the median: "
            f"the service stalled or queued while arrivals went on, up to {row.in_flight_max} "
            "in flight. A load that waits for answers would have paused with it and not seen this."
        )
    if delay > on_time:
        return (
            f"Some arrivals were sent late (schedule delay p99 {in_ms(delay)}), too "
            "few or too little to part the two at p99."
        )
    if failed:
        return (
            "They agree: every arrival was sent on time. Requests failed, and how soon is in both."
        )
    return "They agree: every arrival was sent on time, so both show the service."


def _three(times: Percentiles) -> str:
    return f"p50 {in_ms(times.p50)}, p95 {in_ms(times.p95)}, p99 {in_ms(times.p99)}"
