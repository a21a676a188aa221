"""``worthit compare A B``: two runs, or two arms of one."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worthit.cli.terminal.console import table_console
from worthit.cli.terminal.options import block_seconds_option, json_option
from worthit.contract.exit_codes import ExitCode
from worthit.errors import UsageError

if TYPE_CHECKING:
    from analysis.questions.comparison.answer import Comparison
    from analysis.rundir.run import Run


@click.command("compare")
@click.argument("sides", nargs=-1, metavar="A B")
@click.option(
    "--campaign",
    metavar="NAME",
    help="In place of A and B: the two arms of this campaign's recordings in runs/.",
)
@click.option("--anyway", is_flag=True, help="Compare even if they are refused.")
@block_seconds_option
@click.option(
    "--by",
    type=click.Choice(["root"]),
    help="Compare every root operation that both have (shop: POST /orders), each by itself; "
    "without it the main one.",
)
@json_option
def command(
    sides: tuple[str, ...],
    *,
    campaign: str | None,
    anyway: bool,
    block_seconds: float | None,
    by: str | None,
    as_json: bool,
) -> int:
    """Compare two runs, or two arms of one: RUN or RUN:ARM; or traces: a file, folder or address.

    Refused where machine, profile, scenario or versions differ, or a run is INVALID.
    Two arms of one run that took turns are compared pair by pair; two runs are not paired. Traces
    are compared as a run that worthit import makes of them. Requests of one kind are compared with
    each other: those of the main root operation.
    """
    from analysis.questions.comparison import answer as compare  # noqa: PLC0415 - pandas, which --help never needs

    with ExitStack() as stack:
        first, second = (
            _side(text, block_seconds, stack) for text in _two(sides, campaign=campaign)
        )
        by_root = by == "root"
        against = compare.reasons_against(first, second, by_root=by_root)
        if against and not anyway:
            raise UsageError(
                f"These two may not be compared. {' '.join(against)} Use --anyway to compare them"
                " anyway."
            )
        result = compare.compare(first, second, by_root=by_root)
    if as_json:
        from analysis.questions.published import plain  # noqa: PLC0415 - as above

        click.echo(json.dumps(plain(result), ensure_ascii=False))
    else:
        _print(result)
    return int(ExitCode.DONE)


def _two(sides: tuple[str, ...], *, campaign: str | None) -> tuple[str, str]:
    """Give the two that are compared: those named, or the two arms of a campaign."""
    if campaign is None:
        if len(sides) == 1:
            raise UsageError(
                f"Two are compared and {sides[0]} alone was named; name another run, or two arms"
                f" of this one: {sides[0]}:off {sides[0]}:on."
            )
        if len(sides) != 2:  # noqa: PLR2004 - A and B
            raise UsageError(
                f"{len(sides)} were named and two are compared, A and B; several recordings of one"
                " campaign are compared with --campaign NAME, or become one run by worthit report."
            )
        return sides[0], sides[1]
    if sides:
        raise UsageError("--campaign finds its recordings itself; leave A and B out.")
    from analysis.rundir.run import open_run  # noqa: PLC0415 - as above
    from worthit.cli.report import RUNS_FOLDER  # noqa: PLC0415 - as above
    from worthit.run.campaign import combined, recordings_of  # noqa: PLC0415 - as above

    run = combined(recordings_of(campaign, RUNS_FOLDER))
    manifest = open_run(run).manifest
    if len(manifest.treatments) != 1:
        names = ", ".join(arm.name for arm in manifest.arms)
        raise UsageError(
            f"The recordings of {campaign} are of the arms {names}, and two are compared; name"
            f" them, as in {run}:{manifest.baseline} {run}:ARM."
        )
    return f"{run}:{manifest.baseline}", f"{run}:{manifest.treatments[0]}"


def _side(text: str, block_seconds: float | None, stack: ExitStack) -> Any:  # noqa: ANN401 - its type would import pandas for --help
    """RUN, or RUN:ARM when there is no file or folder of the whole name; traces likewise."""
    from analysis import traces  # noqa: PLC0415 - as above
    from analysis.questions.comparison import answer as compare  # noqa: PLC0415 - as above
    from analysis.rundir.run import open_run  # noqa: PLC0415 - as above

    if traces.is_address(text):
        return compare.side(_imported(text, block_seconds, stack), None)
    path, arm = Path(text), None
    if not path.exists() and ":" in text:
        folder, _, arm = text.rpartition(":")
        path = Path(folder)
    is_run = (path / "manifest.json").exists() or not path.exists()
    return compare.side(
        open_run(path) if is_run else _imported(str(path), block_seconds, stack), arm
    )


def _imported(traces: str, block_seconds: float | None, stack: ExitStack) -> Run:
    """Make a run of traces that is gone when the comparison is done."""
    from analysis.rundir.run import open_run  # noqa: PLC0415 - as above
    from worthit.run.importing import ArmFiles, ImportOptions, import_traces  # noqa: PLC0415 - as above

    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="worthit-"))
    options = ImportOptions(
        name="traces", sources=(ArmFiles(files=(traces,)),), block_seconds=block_seconds
    )
    imported = import_traces(options, out=Path(folder), say=lambda _: None)
    run = open_run(imported.path)
    manifest = replace(run.manifest, run_id=traces)  # as the user named it
    return replace(run, manifest=manifest, written=manifest)


def _print(result: Comparison) -> None:
    from rich.markup import escape  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above

    from analysis.document.estimates import text  # noqa: PLC0415 - as above
    from analysis.document.formatting import plain  # noqa: PLC0415 - as above

    for sentence in result.reasons_against:
        click.echo(f"Compared anyway: {sentence}")
    click.echo(result.summary)
    table = Table(title=escape(f"{result.second} against {result.first}"))
    by_root = len({row.root for row in result.rows}) > 1
    of_root = ["Root operation"] if by_root else []
    for column in (*of_root, "At", "What", "Before", "After", "Difference", "Decided"):
        table.add_column(column)
    for row in result.rows:
        rate = "all" if row.rate_per_s is None else plain(row.rate_per_s, "per_s")
        cells = (text(one) for one in (row.before, row.after, row.difference))
        texts = (*([row.root or ""] if by_root else []), rate, row.what, *cells, row.decided)
        table.add_row(*map(escape, texts))  # a name such as /orders/[id] is no markup
    table_console().print(table)
    for sentence in result.unlike_traffic:
        click.echo(
            f"{sentence}. There is no total of response times or queries per request: the mean"
            " is that of both by their pooled mix, and each kind is compared with its like."
        )
    if result.root_operations:
        click.echo(result.root_operations)
    how = (
        "Paired: both arms ran by turns, block against block."
        if result.paired
        else "Not paired: the arms did not run by turns, so what drifted meanwhile is in"
        " the difference."
        if result.same_run
        else "Not paired: whatever the machine did between the two runs is in the difference."
    )
    click.echo(
        f"{how} Each interval is a 95 % interval over blocks by itself. Decided is what holds for"
        " all rows together: in at most 5 % of the runs without a difference any row is decided"
        " (Holm; half of that is kept for the mean response time, the primary question)."
    )
