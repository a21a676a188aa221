"""``worthit import FILES...``: a run directory of traces that somebody else recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from worthit.cli.terminal.options import (
    block_seconds_option,
    dask_option,
    json_option,
    name_option,
    out_option,
    run_name,
)
from worthit.contract.exit_codes import ExitCode
from worthit.errors import UsageError

if TYPE_CHECKING:
    from worthit.run.importing import ArmFiles, ImportedRun

DEFAULT_NAME: Final = "imported"


@click.command("import")
@click.argument("files", nargs=-1)
@name_option("The run's name; by default imported.")
@click.option(
    "--arm",
    "arms",
    multiple=True,
    metavar="NAME[=FILES]",
    help="NAME: all FILES are of this arm. NAME=FILES: these are, in place of FILES; given once "
    "for each file or folder.",
)
@click.option(
    "--arm-from",
    metavar="ATTRIBUTE",
    help="The attribute of a span or resource that names the request's arm, such as "
    "service.version.",
)
@click.option("--baseline", metavar="ARM", help="The arm that the others are held against.")
@block_seconds_option
@click.option(
    "--skip-damaged", is_flag=True, help="Leave out damaged files and lines, and list them."
)
@click.option(
    "--partitions",
    type=click.IntRange(min=1),
    metavar="N",
    help="Read the traces in N parts, kept on disk meanwhile: for traces that do not fit into "
    "memory. The run is the same.",
)
@dask_option
@out_option
@json_option
def command(
    files: tuple[str, ...],
    *,
    name: str | None,
    arms: tuple[str, ...],
    arm_from: str | None,
    baseline: str | None,
    block_seconds: float | None,
    skip_damaged: bool,
    partitions: int | None,
    dask: str | None,
    out: Path,
    as_json: bool,
) -> int:
    r"""Make a run directory of traces, so that report, compare, check and export work on them.

    FILES are files or folders of traces in any format that worthit reads, run directories, or a
    Jaeger's address. Two arms that were recorded apart:

    \b
    worthit import --name checkout --arm off=before.json --arm on=after.json

    The run's verdict says what nobody confirmed: no imported run is VALID.
    """
    from worthit.run.importing import ImportOptions, import_traces  # noqa: PLC0415 - pandas, which --help never needs

    options = ImportOptions(
        name=run_name(name or DEFAULT_NAME),
        sources=_sources(files, arms, arm_from),
        arm_from=arm_from,
        block_seconds=block_seconds,
        baseline=baseline,
        skip_damaged=skip_damaged,
        partitions=partitions,
        dask=dask,
    )
    imported = import_traces(options, out=out, say=_say)
    _show(imported, as_json=as_json)
    invalid = imported.verdict.verdict == "INVALID"
    return int(ExitCode.RUN_INVALID if invalid else ExitCode.DONE)


def _sources(
    files: tuple[str, ...], arms: tuple[str, ...], arm_from: str | None
) -> tuple[ArmFiles, ...]:
    """Give which traces are of which arm."""
    from worthit.run.importing import ArmFiles  # noqa: PLC0415 - as above

    if arms and arm_from is not None:
        raise UsageError("--arm and --arm-from both name the arms; choose one.")
    apart = [arm for arm in arms if "=" in arm]
    if not apart:
        if not files:
            raise UsageError("Name the traces: files, folders or an address.")
        if len(arms) > 1:
            raise UsageError(
                "All FILES are of one arm; for several give each arm its own: --arm NAME=FILES."
            )
        return (ArmFiles(files=files, arm=arms[0] if arms else None),)
    if files or len(apart) < len(arms):
        raise UsageError(
            "--arm NAME=FILES stands in place of FILES; give every arm its own, and no others."
        )
    pairs = [arm.split("=", 1) for arm in apart]
    empty = next(
        (arm for arm, (name, file) in zip(apart, pairs, strict=True) if not (name and file)), None
    )
    if empty is not None:
        raise UsageError(f"--arm {empty} was found; --arm NAME=FILES was expected.")
    names = list(dict.fromkeys(name for name, _ in pairs))
    return tuple(
        ArmFiles(arm=name, files=tuple(file for other, file in pairs if other == name))
        for name in names
    )


def _say(doing: str) -> None:
    click.echo(f"worthit import: {doing}", err=True)


def _show(imported: ImportedRun, *, as_json: bool) -> None:
    verdict = imported.verdict
    if as_json:
        document = {
            "run": str(imported.path),
            "spans": imported.spans,
            "requests": imported.requests,
            "arms": list(imported.arms),
            "unknown_arm": imported.unknown_arm,
            "passed_over": list(imported.passed_over),
            "verdict": verdict.verdict,
            "reasons": list(verdict.reasons),
        }
        click.echo(json.dumps(document, indent=1))
        return
    arms = f", arms {', '.join(imported.arms)}" if imported.arms else ""
    click.echo(
        f"{verdict.verdict}: {imported.path} ({imported.spans} spans, "
        f"{imported.requests} requests{arms})"
    )
    for reason in verdict.reasons:
        click.echo(f"  {reason}")
    click.echo(f"Next: worthit report {imported.path}")
