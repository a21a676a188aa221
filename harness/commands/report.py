"""``worthit report RUN``: tables, figures and report.html of a run."""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness.errors import ExitCode, UsageError

RUNS_FOLDER = Path("runs")
"""Where runs are looked for when none is named."""


@click.command("report")
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--markdown", is_flag=True, help="Print a Markdown summary for a pull request.")
@click.option(
    "--notebook", is_flag=True, help="Execute the notebooks on the run, as HTML beside the report."
)
@click.option("--json", "as_json", is_flag=True, help="Print findings.json and nothing else.")
@click.option(
    "--jaeger-url",
    envvar="JAEGER_URL",
    metavar="URL",
    help="Jaeger's address: traces in the report link to it. [env: JAEGER_URL]",
)
def command(
    run: Path | None,
    *,
    markdown: bool,
    notebook: bool,
    as_json: bool,
    jaeger_url: str | None,
) -> int:
    """Write report.html, findings.json and figures/ into RUN, and print its tables.

    RUN is a run directory; without one the newest in runs/ is taken. Ends with 4 when the run is
    INVALID.
    """
    from analysis.findings import findings  # noqa: PLC0415 # --help must not wait for pandas
    from analysis.report import assembly, writing  # noqa: PLC0415 # as above
    from analysis.run import open_run  # noqa: PLC0415 # as above

    if markdown and as_json:
        raise UsageError(
            "--markdown and --json both want stdout to themselves; choose one of them."
        )
    opened = open_run(run or newest_run(RUNS_FOLDER))
    found = findings(opened)
    document = assembly.assemble(opened, found, jaeger_url=jaeger_url)
    path = writing.write(document, found, opened.path)
    del notebook
    if as_json:
        click.echo(json.dumps(json.loads(writing.findings_json(found)), ensure_ascii=False))
    click.echo(f"{path}", err=as_json or markdown)
    return int(ExitCode.RUN_INVALID if document.is_invalid else ExitCode.DONE)


def newest_run(folder: Path) -> Path:
    """The newest run directory in a folder.

    Their names begin with their start, so the last name is it.

    Raises
    ------
    UsageError
        When there is none.
    """
    runs = sorted(path.parent for path in folder.glob("*/manifest.json"))
    if not runs:
        raise UsageError(
            f"No run was found in {folder}/; name a run directory, or make one with worthit demo."
        )
    return runs[-1]
