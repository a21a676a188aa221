"""``worthit run``: any experiment file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worthit.cli.terminal.options import json_option, out_option, quiet_option
from worthit.errors import UsageError
from worthit.experiments import catalogue

if TYPE_CHECKING:
    from worthit.experiments.plan import Plan


@click.command("run")
@click.argument(
    "file", metavar="[EXPERIMENT.toml]", required=False, type=click.Path(path_type=Path)
)
@click.option(
    "--profile",
    "cpu_profile",
    is_flag=True,
    help="Sample the service's stacks in every measured block (py-spy, extra worthit[profile]).",
)
@click.option("--dry-run", is_flag=True, help="Print what would be run, and start nothing.")
@click.option(
    "--resume",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Instead of a file: run what this interrupted run has left to do, and join the two.",
)
@out_option
@json_option
@quiet_option
def command(
    *,
    file: Path | None,
    cpu_profile: bool,
    dry_run: bool,
    resume: Path | None,
    out: Path,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run an experiment, keep it as a run directory and write its report.

    EXPERIMENT.toml is a file, or the name of an experiment that comes along.

    Ctrl-C ends the load early and keeps what was measured as an incomplete run, which is never
    VALID; --resume continues it. Exit codes: 0 done, 3 a claim or threshold of the experiment
    does not hold, 4 the run is INVALID, 130 stopped.
    """
    from worthit.counters.profiling import sampler  # noqa: PLC0415 - --help is fast
    from worthit.experiments.plan import make_plan  # noqa: PLC0415 - as above
    from worthit.experiments.reading import read_experiment  # noqa: PLC0415 - as above
    from worthit.run.resume import unfinished  # noqa: PLC0415 - as above

    if (file is None) == (resume is None):
        raise UsageError("Name an experiment file, or an interrupted run with --resume RUN.")
    if cpu_profile and resume is not None:
        raise UsageError(
            "--resume goes on as the run began, with a profile or without; leave out --profile."
        )
    earlier = None if resume is None else unfinished(resume)
    if earlier is not None:
        plan = earlier.plan
    else:
        file = catalogue.experiment_file(file or Path())
        experiment = read_experiment(file)
        if cpu_profile:
            experiment = experiment.model_copy(update={"cpu_profile": True})
        plan = make_plan(experiment, catalogue.called(file))
    if earlier is None:
        _check_arms(plan)
    if plan.experiment.cpu_profile:
        sampler()
    if dry_run:
        from worthit.cli.terminal.plan_text import describe, lines  # noqa: PLC0415 - as above
        from worthit.experiments.power import smallest_effects  # noqa: PLC0415 - as above

        document = describe(plan, smallest_effects(plan))
        click.echo(json.dumps(document, indent=1) if as_json else "\n".join(lines(document)))
        return 0
    from worthit.cli.terminal.running import run_and_answer  # noqa: PLC0415 - as above

    return run_and_answer(
        plan,
        out=out,
        quiet=quiet,
        as_json=as_json,
        keep_interrupted=True,
        claim_files=[catalogue.claims_file(Path(name), file) for name in plan.experiment.claims],
        earlier=earlier,
    )


def _check_arms(plan: Plan) -> None:
    """Refuse settings that the service refuses, before any part is up."""
    from worthit.environment.service import refused_settings  # noqa: PLC0415 - as above

    said = {}
    for arm in plan.arms:
        key = tuple(sorted(arm.env.items()))
        if key not in said:
            said[key] = refused_settings(arm.env)
            for line in said[key].splitlines():
                raise UsageError(f"arm '{arm.name}': {line}")
