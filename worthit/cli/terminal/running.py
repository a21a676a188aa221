"""What ``demo`` and ``run`` share: run a plan to its end, answer its question, say how it went."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import MutableMapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from worthit.cli.terminal.answering import Answers, answer, check_before_running
from worthit.cli.terminal.progress import progress
from worthit.contract.exit_codes import ExitCode
from worthit.experiments.model import FIXED_SETTINGS, RESERVED_SETTINGS, SERVICE_SETTINGS
from worthit.experiments.plan import Plan
from worthit.run.resume import Unfinished
from worthit.run.session import Outcome, run_plan

OWN_SERVERS = frozenset({"DATABASE_URL", "REDIS_URL", "LLM_BASE_URL", "LLM_API_KEY"})
"""Settings in the user's environment that replace parts of a run."""


def run_and_answer(
    plan: Plan,
    *,
    out: Path,
    quiet: bool,
    as_json: bool,
    keep_interrupted: bool,
    claim_files: Sequence[Path] = (),
    earlier: Unfinished | None = None,
) -> int:
    """Run `plan`, write its report, print what matters, and give the exit code."""
    thresholds = plan.experiment.thresholds
    check_before_running(claim_files, thresholds)
    endpoint = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if endpoint and not quiet:
        click.echo(f"Spans are recorded, and a copy goes to {endpoint}.", err=True)
    environ = dict(os.environ)
    _forget_settings(os.environ)
    with progress(plan.experiment.name, plan.estimated_s, quiet=quiet) as say:
        outcome = asyncio.run(
            run_plan(
                plan,
                out=out,
                say=say,
                environ=environ,
                keep_interrupted=keep_interrupted,
                earlier=earlier,
            )
        )
    answers = None
    if outcome.path is not None and not outcome.interrupted:
        if not quiet:
            click.echo(f"Recorded {outcome.path}; writing its report...", err=True)
        try:
            answers = answer(outcome.path, claim_files=claim_files, thresholds=thresholds)
        except KeyboardInterrupt:
            click.echo(
                f"The run is whole, its report was not written: worthit report {outcome.path}",
                err=True,
            )
            raise
    if as_json:
        click.echo(json.dumps(outcome_document(outcome, answers), indent=1))
    else:
        _say(outcome, answers)
    return exit_code(outcome, answers)


def _forget_settings(environ: MutableMapping[str, str]) -> None:
    """Remove the service's settings, in whatever case: it reads them in any.

    A setting left in the shell would reach every arm and make the experiment another one.
    """
    settings = SERVICE_SETTINGS | RESERVED_SETTINGS | FIXED_SETTINGS
    for name in [name for name in environ if name.upper() in settings]:
        if name not in OWN_SERVERS:
            del environ[name]


def outcome_document(outcome: Outcome, answers: Answers | None) -> dict[str, Any]:
    """Give the outcome as one JSON document."""
    from analysis.questions.published import plain  # noqa: PLC0415 - pandas, which --help never needs

    verdict = outcome.verdict
    return {
        "run": None if outcome.path is None else str(outcome.path),
        "interrupted": outcome.interrupted,
        "blocks_done": outcome.blocks_done,
        "blocks_planned": outcome.blocks_planned,
        "verdict": None if verdict is None else verdict.verdict,
        "reasons": [] if verdict is None else list(verdict.reasons),
        "passed_on": None if outcome.passed_on is None else asdict(outcome.passed_on),
        "report": None if answers is None else str(answers.report),
        "headline": [] if answers is None else list(answers.sentences),
        "claims": [] if answers is None else [plain(row) for row in answers.claims],
        "thresholds": [] if answers is None else list(answers.thresholds),
    }


def exit_code(outcome: Outcome, answers: Answers | None) -> int:
    """Give the exit code that an outcome deserves."""
    if outcome.interrupted:
        return int(ExitCode.INTERRUPTED)
    if outcome.verdict is not None and outcome.verdict.verdict == "INVALID":
        return int(ExitCode.RUN_INVALID)
    if answers is not None and answers.broken:
        return int(ExitCode.CLAIM_DOES_NOT_HOLD)
    return int(ExitCode.DONE)


def _say(outcome: Outcome, answers: Answers | None) -> None:
    """Print how the run ended and what it found."""
    if outcome.interrupted:
        done = f"after {outcome.blocks_done} of {outcome.blocks_planned} blocks"
        kept = f"kept as incomplete: {outcome.path}" if outcome.path else "nothing was kept"
        click.echo(f"Stopped {done}; {kept}.", err=True)
    if outcome.passed_on is not None:
        click.echo(outcome.passed_on.sentence(), err=True)
    if outcome.verdict is not None:
        click.echo(f"{outcome.verdict.verdict}  {outcome.path}")
        for reason in outcome.verdict.reasons:
            click.echo(f"  - {reason}")
    if answers is not None:
        for sentence in (*answers.sentences, *answers.broken):
            click.echo(f"\n{sentence}")
        click.echo(f"\nReport: {answers.report}")
