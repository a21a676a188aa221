"""What ``demo`` and ``run`` share: run a plan to its end and say how it went."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import click

from harness.__main__ import INTERRUPTED_EXIT_CODE
from harness.errors import ExitCode
from harness.experiment.model import HARNESS_SETTINGS, SERVICE_SETTINGS
from harness.experiment.plan import Plan
from harness.progress import Silence, progress_on
from harness.run.orchestrator import Outcome, run_plan

OWN_SERVERS = ("DATABASE_URL", "REDIS_URL", "LLM_BASE_URL", "LLM_API_KEY")
"""Settings in the person's environment that replace parts of a run."""


def run_to_the_end(plan: Plan, *, out: Path, quiet: bool, keep_interrupted: bool) -> Outcome:
    """Run `plan` with progress on stderr."""
    environ = dict(os.environ)
    # A setting left in the shell would reach every arm and make the experiment another one.
    for name in (SERVICE_SETTINGS | HARNESS_SETTINGS) - set(OWN_SERVERS):
        os.environ.pop(name, None)
    return asyncio.run(
        run_plan(
            plan,
            out=out,
            progress=Silence() if quiet else progress_on(),
            environ=environ,
            keep_interrupted=keep_interrupted,
        )
    )


def outcome_document(outcome: Outcome) -> dict[str, Any]:
    """Give the outcome as one JSON document."""
    verdict = outcome.verdict
    return {
        "run": None if outcome.path is None else str(outcome.path),
        "interrupted": outcome.interrupted,
        "blocks_done": outcome.blocks_done,
        "blocks_planned": outcome.blocks_planned,
        "verdict": None if verdict is None else verdict.verdict,
        "reasons": [] if verdict is None else list(verdict.reasons),
    }


def exit_code(outcome: Outcome) -> int:
    """Give the exit code that an outcome deserves, claims apart."""
    if outcome.interrupted:
        return INTERRUPTED_EXIT_CODE
    if outcome.verdict is not None and outcome.verdict.verdict == "INVALID":
        return int(ExitCode.RUN_INVALID)
    return int(ExitCode.DONE)


def say_outcome(outcome: Outcome, *, as_json: bool, hint: str = "") -> None:
    """Print how the run ended: JSON on stdout, or sentences."""
    if as_json:
        click.echo(json.dumps(outcome_document(outcome), indent=1))
        return
    if outcome.interrupted:
        done = f"after {outcome.blocks_done} of {outcome.blocks_planned} blocks"
        kept = (
            "nothing was kept" if outcome.path is None else f"kept as incomplete: {outcome.path}"
        )
        click.echo(f"Stopped {done}; {kept}.{hint}", err=True)
    if outcome.verdict is not None:
        click.echo(f"{outcome.verdict.verdict}: {outcome.path}")
        for reason in outcome.verdict.reasons:
            click.echo(f"  {reason}")
