"""``worthit experiments``: what comes along to be run."""

from __future__ import annotations

import json

import click

from worthit.cli.terminal.options import json_option
from worthit.cli.terminal.progress import spell_seconds
from worthit.experiments import catalogue
from worthit.experiments.plan import make_plan
from worthit.experiments.reading import read_experiment


@click.command("experiments")
@json_option
def command(*, as_json: bool) -> None:
    """List the experiments that come along, with their question and duration.

    Run one with: worthit run NAME
    """
    rows = []
    for file in catalogue.files():
        experiment = read_experiment(file)
        plan = make_plan(experiment)
        rows.append(
            {
                "name": file.stem,
                "file": str(file),
                "question": experiment.question,
                "arms": len(plan.arms),
                "estimated_s": plan.estimated_s,
            }
        )
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    width = max(len(str(row["name"])) for row in rows)
    for row in rows:
        duration = spell_seconds(float(str(row["estimated_s"])))
        click.echo(f"{row['name']:<{width}}  {row['question']}  ({row['arms']} arms, {duration})")
    click.echo("\nRun one with: worthit run NAME", err=True)
