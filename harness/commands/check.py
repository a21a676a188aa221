"""``worthit check RUN --claims FILE``: which claims hold in this run?"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import click

from harness.commands.options import json_option
from harness.errors import ExitCode, HarnessError, UsageError


class InvalidRunError(HarnessError):
    """Claims were to be checked in a run that did not prove itself."""

    exit_code = ExitCode.RUN_INVALID


@click.command("check")
@click.argument("run", type=click.Path(path_type=Path))
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
    run: Path,
    claim_files: tuple[Path, ...],
    limits: tuple[str, ...],
    *,
    as_json: bool,
    junit: Path | None,
) -> int:
    """Print each claim and threshold as holds, does not hold or not decided.

    Ends with 3 when one does not hold, with 4 when the run is INVALID.
    """
    from analysis import claims, thresholds  # noqa: PLC0415 - pandas, which --help never needs
    from analysis.findings import findings  # noqa: PLC0415 - as above
    from analysis.run import open_run  # noqa: PLC0415 - as above

    if not claim_files and not limits:
        raise UsageError("Nothing is to be checked; give --claims FILE or --threshold.")
    ledgers = [claims.read(file) for file in claim_files]
    wanted = [thresholds.parse(text) for text in limits]
    opened = open_run(run)
    found = findings(opened)
    if found["verdict"]["verdict"] == "INVALID":
        reasons = " ".join(found["verdict"]["reasons"])
        raise InvalidRunError(f"{run} is INVALID, so no claim was checked in it: {reasons}")
    checked = [claims.check(ledger, found) for ledger in ledgers]
    if wanted:
        checked.append({"claims": thresholds.claim_rows(thresholds.of_run(wanted, opened))})
    rows = [row for ledger in checked for row in ledger["claims"]]
    if junit is not None:
        junit.write_bytes(junit_document(opened.manifest.run_id, rows))
    if as_json:
        document = {"run": opened.manifest.run_id, "verdict": found["verdict"], "ledgers": checked}
        click.echo(json.dumps(document, ensure_ascii=False))
    else:
        _print(opened.manifest.run_id, found["verdict"], rows)
    fails = any(row["verdict"] == claims.DOES_NOT_HOLD for row in rows)
    return int(ExitCode.CLAIM_DOES_NOT_HOLD if fails else ExitCode.DONE)


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


def _print(run_id: str, verdict: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above

    click.echo(f"{run_id}: {verdict['verdict']}")
    for reason in verdict["reasons"]:
        click.echo(f"  {reason}")
    table = Table(show_lines=True)
    for column in ("Claim", "Verdict", "Measured and claimed", "n"):
        table.add_column(column)
    for row in rows:
        said = _undecided(row) if row["verdict"] == "not decided" else row["sentence"]
        count = "–" if row["n"] is None else f"{row['n']:,}"
        table.add_row(f"{row['id']}\n{row['text']}", row["verdict"], said, count)
    Console().print(table)
    words = [
        f"{sum(row['verdict'] == verdict for row in rows)} {verdict}"
        for verdict in ("holds", "does not hold", "not decided")
    ]
    click.echo(f"{', '.join(words)}.")
