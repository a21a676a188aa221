"""``worthit history RUN...``: many runs of one experiment, and whether the newest is worse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worthit.cli.terminal.console import table_console
from worthit.cli.terminal.options import json_option
from worthit.contract.exit_codes import ExitCode
from worthit.errors import UsageError

if TYPE_CHECKING:
    from analysis.questions.history.answer import History

SCHEMA_VERSION = 1
"""Of the JSON document. History: 1, the first."""


@click.command("history")
@click.argument("runs", type=click.Path(path_type=Path), metavar="RUN...", nargs=-1, required=True)
@click.option(
    "--worse-by",
    type=click.FloatRange(min=0, max=100),
    metavar="PERCENT",
    default=2.0,
    show_default=True,
    help="How many percent worse than the mean of the earlier runs the newest may be.",
)
@click.option(
    "--last",
    type=click.IntRange(min=5),
    metavar="N",
    default=10,
    show_default=True,
    help="The newest is held against so many runs before it.",
)
@click.option("--figure", type=click.Path(path_type=Path), help="Write the figure here, as PNG.")
@json_option
def command(
    runs: tuple[Path, ...], *, worse_by: float, last: int, figure: Path | None, as_json: bool
) -> int:
    """Print the headline numbers of many runs, where they changed, and hold the newest to them.

    Runs of another experiment or machine than the newest are set apart, INVALID ones left out, and
    both are named. Exit code 3 when a number of the newest run is surely worse by more than
    --worse-by, 4 when the newest is INVALID. A service that did not get worse ends with 3 in at
    most 5 % of its runs.
    """
    from analysis.questions.asking import findings  # noqa: PLC0415 - pandas, which --help never needs
    from analysis.questions.history import answer as history  # noqa: PLC0415 - as above
    from analysis.rundir.run import open_run  # noqa: PLC0415 - as above

    if figure is not None and figure.suffix != ".png":
        raise UsageError(f"The figure is written as PNG, and {figure} has another ending; name it"
                         f" {figure.with_suffix('.png')}.")  # fmt: skip
    opened = [open_run(path) for path in runs]
    found = history.answer(
        [(run.manifest, findings(run)) for run in opened], margin=worse_by / 100, last=last
    )
    if figure is not None:
        from analysis.drawing import style  # noqa: PLC0415 - as above
        from analysis.questions.history.figure import figure as drawn  # noqa: PLC0415 - as above

        figure.write_bytes(style.to_png(drawn(found)))
    if as_json:
        from analysis.questions.published import plain  # noqa: PLC0415 - as above

        document = {"schema_version": SCHEMA_VERSION, **plain(found)}
        click.echo(json.dumps(document, ensure_ascii=False))
    else:
        _print(found)
    if found.newest_is_invalid:
        return int(ExitCode.RUN_INVALID)
    return int(ExitCode.CLAIM_DOES_NOT_HOLD if found.is_worse else ExitCode.DONE)


def _print(found: History) -> None:
    from rich.markup import escape  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above

    from analysis.document.estimates import text  # noqa: PLC0415 - as above

    for one in found.apart:
        click.echo(f"Left out: {one.run}, because {one.why}.")
    table = Table(title=escape(f"{found.experiment}: {len(found.runs)} runs"))
    for column in ("What", "Arm", "First", "Newest", "Changed with", "Newest run", "Is"):
        table.add_column(column)
    for series in found.series:
        first, newest = (text(series.points[at].estimate) for at in (0, -1))
        cells = (series.what, series.arm or "", first, newest, ", ".join(series.changes) or "–",
                 series.gate.sentence, series.gate.decided)  # fmt: skip
        table.add_row(*map(escape, cells))
    table_console().print(table)
