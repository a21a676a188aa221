"""``worthit run``: any experiment file."""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness.commands.options import json_option, out_option, quiet_option


@click.command("run")
@click.argument("file", metavar="EXPERIMENT.toml", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Print what would be run, and start nothing.")
@out_option
@json_option
@quiet_option
def command(*, file: Path, dry_run: bool, out: Path, as_json: bool, quiet: bool) -> int:
    """Run the experiment of a file and keep it as a run directory.

    Ctrl-C ends the load early and keeps what was measured as an incomplete run. Exit codes: 0
    done, 3 a claim of the experiment does not hold, 4 the run is INVALID.
    """
    from harness.experiment.description import describe, lines  # noqa: PLC0415 - --help is fast
    from harness.experiment.plan import make_plan  # noqa: PLC0415 - as above
    from harness.experiment.reading import read_experiment  # noqa: PLC0415 - as above

    plan = make_plan(read_experiment(file))
    if dry_run:
        document = describe(plan)
        click.echo(json.dumps(document, indent=1) if as_json else "\n".join(lines(document)))
        return 0
    from harness.commands.running import (  # noqa: PLC0415 - as above
        exit_code,
        run_to_the_end,
        say_outcome,
    )

    outcome = run_to_the_end(plan, out=out, quiet=quiet, keep_interrupted=True)
    say_outcome(outcome, as_json=as_json)
    return exit_code(outcome)
