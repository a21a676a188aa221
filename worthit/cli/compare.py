"""``worthit compare A B``: two runs, or two arms of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worthit.cli.terminal.console import table_console
from worthit.cli.terminal.options import json_option
from worthit.contract.exit_codes import ExitCode
from worthit.errors import UsageError

if TYPE_CHECKING:
    from analysis.questions.comparison.answer import Comparison


@click.command("compare")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--anyway", is_flag=True, help="Compare even if they are refused.")
@json_option
def command(first: str, second: str, *, anyway: bool, as_json: bool) -> int:
    """Compare two runs, or two arms of one: RUN or RUN:ARM.

    Refused where machine, profile, scenario or versions differ, or a run is INVALID.
    Two arms of one run are compared pair by pair; two runs are not paired.
    """
    from analysis.questions.comparison import answer as compare  # noqa: PLC0415 - pandas, which --help never needs

    sides = [_side(text) for text in (first, second)]
    against = compare.reasons_against(*sides)
    if against and not anyway:
        sentences = " ".join(against)
        raise UsageError(
            f"These two may not be compared. {sentences} Use --anyway to compare them anyway."
        )
    result = compare.compare(*sides)
    if as_json:
        from analysis.questions.published import plain  # noqa: PLC0415 - as above

        click.echo(json.dumps(plain(result), ensure_ascii=False))
    else:
        _print(result)
    return int(ExitCode.DONE)


def _side(text: str) -> Any:  # noqa: ANN401 - its type would import pandas for --help
    """RUN, or RUN:ARM when there is no folder of the whole name."""
    from analysis.questions.comparison import answer as compare  # noqa: PLC0415 - as above
    from analysis.rundir.run import open_run  # noqa: PLC0415 - as above

    path, arm = Path(text), None
    if not path.exists() and ":" in text:
        folder, _, arm = text.rpartition(":")
        path = Path(folder)
    return compare.side(open_run(path), arm)


def _print(result: Comparison) -> None:
    from rich.markup import escape  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above

    from analysis.document.estimates import text  # noqa: PLC0415 - as above
    from analysis.document.formatting import plain  # noqa: PLC0415 - as above

    for sentence in result.reasons_against:
        click.echo(f"Compared anyway: {sentence}")
    table = Table(title=escape(f"{result.second} against {result.first}"))
    for column in ("At", "What", "Before", "After", "Difference", "Decided"):
        table.add_column(column)
    for row in result.rows:
        rate = "all" if row.rate_per_s is None else plain(row.rate_per_s, "per_s")
        cells = (text(one) for one in (row.before, row.after, row.difference))
        texts = (rate, row.what, *cells, row.decided)
        table.add_row(*map(escape, texts))  # a name such as /orders/[id] is no markup
    table_console().print(table)
    how = (
        "Paired: both arms ran interleaved."
        if result.interleaved
        else "Not paired: one arm ran after the other, so what drifted meanwhile is in the"
        " difference."
        if result.paired
        else "Not paired: whatever the machine did between the two runs is in the difference."
    )
    click.echo(f"{how} 95 % intervals over blocks.")
