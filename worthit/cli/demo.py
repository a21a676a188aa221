"""``worthit demo``: the main job, cache off against cache on, in one report."""

from __future__ import annotations

from pathlib import Path

import click

from worthit.cli.terminal.options import json_option, out_option, quiet_option


@click.command("demo")
@click.option("--quick", is_flag=True, help="About one minute instead of four; wider intervals.")
@out_option
@json_option
@quiet_option
def command(*, quick: bool, out: Path, as_json: bool, quiet: bool) -> int:
    """Measure what the personality cache does to a request's time and to the database's load.

    Starts everything it needs on this machine, loads the service with the cache off and on in
    turn at three rates, and ends with a report. Ctrl-C keeps nothing. Exit code 4 when the run is
    INVALID.
    """
    from worthit.cli.terminal.running import run_and_answer  # noqa: PLC0415 - --help is fast
    from worthit.experiments import catalogue  # noqa: PLC0415 - as above
    from worthit.experiments.plan import make_plan  # noqa: PLC0415 - as above
    from worthit.experiments.reading import read_experiment  # noqa: PLC0415 - as above

    name = "demo-quick" if quick else "demo"
    plan = make_plan(read_experiment(catalogue.folder() / f"{name}.toml"), name)
    return run_and_answer(plan, out=out, quiet=quiet, as_json=as_json, keep_interrupted=False)
