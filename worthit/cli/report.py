"""``worthit report RUN``: tables, figures and report.html of a run."""

from __future__ import annotations

import gc
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worthit.cli.terminal.console import table_console
from worthit.cli.terminal.options import (
    arm_from_option,
    dask_option,
    json_option,
    operation_option,
    statement_option,
)
from worthit.contract.exit_codes import ExitCode
from worthit.errors import UsageError

if TYPE_CHECKING:
    from distributed import Client

    from analysis.document.document import Document
    from analysis.questions.findings import Findings

RUNS_FOLDER = Path("runs")
"""Where runs are looked for when none is named."""

SELDOM = 50_000
"""New objects between two garbage collections: with Python's 700 they take a sixth of the time of
a report, which makes many objects and hardly any cycle."""


@click.command("report")
@click.argument("runs", nargs=-1, metavar="[RUN]...", type=click.Path(path_type=Path))
@click.option(
    "--campaign",
    metavar="NAME",
    help="Report the recordings of this campaign in runs/ as one run.",
)
@click.option(
    "--brief",
    is_flag=True,
    help="Print what decides and each question's answer, and write them to brief.html as well.",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
@click.option("--markdown", is_flag=True, help="Print a Markdown summary for a pull request.")
@click.option(
    "--notebook", is_flag=True, help="Also execute the notebooks, as HTML beside the report."
)
@json_option
@click.option(
    "--claims",
    "claim_files",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    help="A TOML file of claims to hold against the run; may be given several times.",
)
@click.option(
    "--jaeger-url",
    envvar="JAEGER_URL",
    metavar="URL",
    help="Address of Jaeger's page; the report's traces link to it. [env: JAEGER_URL]",
)
@arm_from_option
@operation_option
@statement_option
@dask_option
def command(
    runs: tuple[Path, ...],
    campaign: str | None,
    claim_files: tuple[Path, ...],
    *,
    arm_from: str | None,
    operation: str | None,
    statement: str | None,
    brief: bool,
    opens: bool,
    markdown: bool,
    notebook: bool,
    as_json: bool,
    jaeger_url: str | None,
    dask: str | None,
) -> int:
    """Write report.html, findings.json and figures/ into RUN, and print its tables.

    RUN is a run directory; without one the newest in runs/ is taken. Several recordings, each
    with an arm, become one run first, of which each is a block. Ends with 4 when the run is
    INVALID.
    """
    from analysis.questions.asking import findings  # noqa: PLC0415 - pandas, which --help never needs
    from analysis.report import assembly, writing  # noqa: PLC0415 - as above
    from analysis.rundir.run import open_run  # noqa: PLC0415 - as above
    from worthit.cli.terminal import answering  # noqa: PLC0415 - as above

    if markdown and as_json:
        raise UsageError("--markdown and --json both want stdout to themselves; choose one.")
    _check_address(jaeger_url)
    with _collecting_seldom(), _workers(dask) as client:
        opened = open_run(_chosen(runs, campaign), arm_from=arm_from).about(operation, statement)
        files = answering.claims_of(opened.manifest, claim_files)
        found = answering.with_claims(findings(opened, client=client), files)
        document = assembly.assemble(opened, found, jaeger_url=jaeger_url)
        written = [writing.write(document, found, opened.path, brief=brief)]
        if notebook:
            from analysis.report import notebooks  # noqa: PLC0415 - Jupyter's client, rarely wanted

            written += notebooks.as_html(opened.path, opened.path / "notebooks")
    shown = document.shortened() if brief else document
    _print(shown, found, markdown=markdown, as_json=as_json)
    for path in written:
        click.echo(f"Written: {path}", err=True)
    if opens and not webbrowser.open(written[0].resolve().as_uri()):
        click.echo(f"No browser was found; open {written[0]} yourself.", err=True)
    return int(ExitCode.RUN_INVALID if document.is_invalid else ExitCode.DONE)


def _chosen(runs: tuple[Path, ...], campaign: str | None) -> Path:
    """Give the one run that is meant, made of several recordings where several are."""
    from worthit.run.campaign import combined, recordings_of  # noqa: PLC0415 - as above

    if campaign is not None:
        if runs:
            raise UsageError("--campaign finds its recordings itself; leave RUN out.")
        return combined(recordings_of(campaign, RUNS_FOLDER))
    if len(runs) > 1:
        return combined(runs)
    return runs[0] if runs else newest_run(RUNS_FOLDER)


@contextmanager
def _workers(dask: str | None) -> Iterator[Client | None]:
    """Give a client of the Dask scheduler at an address; none without one."""
    if dask is None:
        yield None
        return
    from analysis.scale import connected  # noqa: PLC0415 - pandas, which --help never needs

    with connected(dask) as client:
        yield client


@contextmanager
def _collecting_seldom() -> Iterator[None]:
    """Let garbage be collected seldom, and never among what is imported already."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(SELDOM, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def newest_run(folder: Path) -> Path:
    """Give the newest run directory: their names begin with their start, so it is the last.

    Raises
    ------
    UsageError
        When there is none.
    """
    runs = sorted(path.parent for path in folder.glob("[!.]*/manifest.json"))
    if not runs:
        raise UsageError(
            f"No run was found in {folder}/; name a run directory, or make one with worthit demo."
        )
    return runs[-1]


def _check_address(jaeger_url: str | None) -> None:
    """Refuse what would make a dead or dangerous link of every trace."""
    if jaeger_url is not None and not jaeger_url.startswith(("http://", "https://")):
        raise UsageError(
            f"--jaeger-url {jaeger_url!r} is no web address; give one such as"
            " http://127.0.0.1:16686."
        )


def _print(document: Document, found: Findings, *, markdown: bool, as_json: bool) -> None:
    """Print what was asked for on stdout, and nothing else there."""
    from analysis.questions.published import as_json as as_text  # noqa: PLC0415 - pandas, which --help never needs

    if as_json:
        click.echo(as_text(found), nl=False)
    elif markdown:
        from analysis.report.markdown import markdown as as_markdown  # noqa: PLC0415 - as above

        click.echo(as_markdown(document), nl=False)
    else:
        from analysis.report import terminal  # noqa: PLC0415 - as above

        terminal.show(document, table_console())
