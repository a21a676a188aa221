"""``worthit check RUN... --claims FILE``: which claims hold in this run, or in these?"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worthit.cli.terminal.console import table_console
from worthit.cli.terminal.options import json_option
from worthit.errors import ExitCode, HarnessError, UsageError
from worthit.experiments import catalogue
from worthit.experiments.reading import read_experiment

if TYPE_CHECKING:
    from analysis.claims.claims import Ledger
    from analysis.rundir.run import Run


class InvalidRunError(HarnessError):
    """Claims were to be checked in a run that did not prove itself."""

    exit_code = ExitCode.RUN_INVALID


@click.command("check")
@click.argument("runs", type=click.Path(path_type=Path), metavar="RUN...", nargs=-1, required=True)
@click.option(
    "--claims",
    "claim_files",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A TOML file of claims; may be given several times.",
)
@click.option(
    "--threshold",
    "limits",
    metavar="'METRIC: EXPRESSION'",
    multiple=True,
    help="A limit in k6's words, such as 'response_time: p(95)<500'; may be given several times.",
)
@json_option
@click.option("--junit", type=click.Path(path_type=Path), help="Write a JUnit file here too.")
def command(
    runs: tuple[Path, ...],
    claim_files: tuple[Path, ...],
    limits: tuple[str, ...],
    *,
    as_json: bool,
    junit: Path | None,
) -> int:
    """Print each claim and threshold as holds, does not hold or not decided.

    Of several runs, such as a catalogue of experiments, each claim is held against the one of its
    own experiment, or else the first that measures it.

    Ends with 3 when one does not hold or nothing was recorded that a threshold speaks of, with 4
    when a run is INVALID.
    """
    from analysis.claims import claims, thresholds  # noqa: PLC0415 - pandas, which --help never needs

    if not claim_files and not limits:
        raise UsageError("Nothing is to be checked; give --claims FILE or --threshold.")
    ledgers = [claims.read(file) for file in claim_files]
    wanted = [thresholds.parse(text) for text in limits]
    opened = [_trusted(run) for run in runs]
    found = [document for _, document in opened]
    if len(found) == 1:
        checked = [claims.check(ledger, found[0]) for ledger in ledgers]
    else:
        names = _experiment_names(ledgers)
        checked = [claims.check_together(ledger, found, names) for ledger in ledgers]
    silent = False
    for run, document in opened if wanted else ():
        limited = thresholds.claim_rows(thresholds.of_run(wanted, run))
        silent |= any(row["verdict"] == thresholds.NOT_DECIDED for row in limited)
        checked.append({"claims": [{**row, "run": document["run"]["id"]} for row in limited]})
    rows = [row for ledger in checked for row in ledger["claims"]]
    if junit is not None:
        junit.write_bytes(junit_document(", ".join(one["run"]["id"] for one in found), rows))
    if as_json:
        verdicts = [{"run": one["run"]["id"], "verdict": one["verdict"]} for one in found]
        head = verdicts[0] if len(verdicts) == 1 else {"runs": verdicts}
        click.echo(json.dumps({**head, "ledgers": checked}, ensure_ascii=False))
    else:
        _print(found, rows)
    fails = any(row["verdict"] == claims.DOES_NOT_HOLD for row in rows)
    return int(ExitCode.CLAIM_DOES_NOT_HOLD if fails or silent else ExitCode.DONE)


def _trusted(path: Path) -> tuple[Run, dict[str, Any]]:
    """The run and its findings; refused when it is INVALID."""
    from analysis.questions.asking import findings  # noqa: PLC0415 - pandas, which --help never needs
    from analysis.questions.published import as_dict  # noqa: PLC0415 - as above
    from analysis.rundir.run import open_run  # noqa: PLC0415 - as above

    run = open_run(path)
    found = as_dict(findings(run))
    if found["verdict"]["verdict"] == "INVALID":
        reasons = " ".join(found["verdict"]["reasons"])
        raise InvalidRunError(f"{path} is INVALID, so no claim was checked in it: {reasons}")
    return run, found


def _experiment_names(ledgers: Sequence[Ledger]) -> dict[str, str]:
    """The name that runs of an experiment carry, by what claims call the experiment's file."""
    files = {claim.experiment for ledger in ledgers for claim in ledger.claims if claim.experiment}
    known = {file.name: file for file in catalogue.files()}
    names = {}
    for called in files:
        file = known.get(Path(called).name, Path(called))
        names[called] = read_experiment(file).name if file.is_file() else file.stem
    return names


def junit_document(run_id: str, rows: list[dict[str, Any]]) -> bytes:
    """The ledger as JUnit XML: does not hold is a failure, not decided is skipped."""
    failed = [row for row in rows if row["verdict"] == "does not hold"]
    undecided = [row for row in rows if row["verdict"] == "not decided"]
    suite = ET.Element(
        "testsuite",
        name=f"claims in {run_id}",
        tests=str(len(rows)),
        failures=str(len(failed)),
        skipped=str(len(undecided)),
        errors="0",
    )
    for row in rows:
        case = ET.SubElement(suite, "testcase", classname="claims", name=row["id"])
        if row["verdict"] == "does not hold":
            failure = ET.SubElement(case, "failure", message=row["sentence"])
            failure.text = row["text"]
        elif row["verdict"] == "not decided":
            ET.SubElement(case, "skipped", message=_undecided(row))
        ET.SubElement(case, "system-out").text = f"{row['text']}\n{row['sentence']}"
    document: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return document


def _undecided(row: dict[str, Any]) -> str:
    decides = f" What would decide it: {row['would_decide']}." if row["would_decide"] else ""
    return f"{row['sentence']}{decides}"


def _print(found: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    from rich.table import Table  # noqa: PLC0415 - as above

    names = {one["run"]["id"]: one["run"]["name"] for one in found}
    for one in found:
        click.echo(f"{one['run']['id']}: {one['verdict']['verdict']}")
        for reason in one["verdict"]["reasons"]:
            click.echo(f"  {reason}")
    table = Table(show_lines=True)
    for column in ("Claim", "Verdict", "Measured and claimed", "n"):
        table.add_column(column)
    for row in rows:
        said = _undecided(row) if row["verdict"] == "not decided" else row["sentence"]
        count = "–" if row["n"] is None else f"{row['n']:,}"
        where = f"\n({names[row['run']]})" if len(found) > 1 else ""
        table.add_row(f"{row['id']}\n{row['text']}", row["verdict"], f"{said}{where}", count)
    table_console().print(table)
    words = [
        f"{sum(row['verdict'] == verdict for row in rows)} {verdict}"
        for verdict in ("holds", "does not hold", "not decided")
    ]
    click.echo(f"{', '.join(words)}.")
