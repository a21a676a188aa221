"""What a finished run says of itself: sentences, generator.json and Locust's exit code."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from loadtests._worker import write_json

if TYPE_CHECKING:
    from loadtests._conductor import Run

EXIT_DONE = 0
EXIT_THRESHOLD_CROSSED = 3
EXIT_RATE_MISSED = 4
LEAST_ACHIEVED = 0.99
"""Achieved over offered rate below which the rate was missed: METHODS' one per cent."""
_LOGGER = logging.getLogger("worthit.load")


def conclude(report: dict[str, Any], run: Run) -> int:
    """Write generator.json, say how it went, and return the exit code."""
    if run.out:
        write_json(run.out / "generator.json", report)
    short = shortfalls(report)
    for row in report["generator"]:
        _LOGGER.info("%s", step_in_words(row))
    for sentence in short:
        _LOGGER.error("%s", sentence)
    return EXIT_RATE_MISSED if short else EXIT_DONE


def step_in_words(row: dict[str, Any]) -> str:
    """Return one step's self-check as a line."""
    lag = row["lag_p99_ms"]
    return (
        f"Step {row['step']}: offered {row['offered_per_s']:.2f}/s, achieved "
        f"{row['achieved_per_s']:.2f}/s, "
        f"{row['arrivals_sent']} of {row['arrivals_planned']} arrivals sent, lag p99 "
        f"{'-' if lag is None else f'{lag:.2f} ms'}, at most {row['in_flight_max']} in flight."
    )


def shortfalls(report: dict[str, Any]) -> list[str]:
    """Return a sentence for each way in which the run missed its rate; none when it kept it."""
    sentences = []
    if report["stopped_early"]:
        sentences.append(
            "The run was stopped before its schedule ended; what was recorded is not the"
            " run that was planned."
        )
    for row in report["generator"]:
        step = row["step"]
        if row["dropped"]:
            sentences.append(
                f"Step {step}: {row['dropped']} of {row['arrivals_planned']} arrivals "
                f"were never sent; "
                "use more workers, a lower rate or a higher --max-in-flight."
            )
        elif row["achieved_per_s"] < LEAST_ACHIEVED * row["offered_per_s"]:
            sentences.append(
                f"Step {step}: {row['offered_per_s']:.1f} arrivals/s were offered and "
                f"{row['achieved_per_s']:.1f}/s "
                f"achieved, less than {LEAST_ACHIEVED:.0%}; use more workers, a lower "
                f"rate or a higher --max-in-flight."
            )
    return sentences
