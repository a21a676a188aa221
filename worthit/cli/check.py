"""``worthit check RUN... --claims FILE``: which claims hold in this run, or in these?"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worthit.cli.terminal.console import table_console
from worthit.cli.terminal.options import json_option
from worthit.contract.exit_codes import ExitCode
from worthit.contract.thresholds import parse_all
from worthit.errors import UsageError, WorthitError
from worthit.experiments import catalogue
from worthit.experiments.reading import read_experiment

if TYPE_CHECKING:
    from analysis.claims.claims import ClaimFile
    from analysis.claims.ledger import LedgerRow
    from analysis.questions.findings import Findings, RunFacts
    from analysis.rundir.run import Run


class InvalidRunError(WorthitError):
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
@click.option("--junit", type=click.Path(path_type=Path), help="Also write a JUnit file here.")
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

    Exit code 3 when one does not hold or nothing was recorded for a threshold, 4 when a run is
    INVALID.
    """
    from analysis.claims import claims, thresholds  # noqa: PLC0415 - pandas, which --help never needs
    from analysis.questions.published import plain  # noqa: PLC0415 - as above

    if not claim_files and not limits:
        raise UsageError("Nothing is to be checked; give --claims FILE or --threshold.")
    files = [claims.read(catalogue.claims_file(file)) for file in claim_files]
    wanted = parse_all(limits)
    opened = [_trusted(run) for run in runs]
    found = [one for _, one in opened]
    lines, ledgers = [], []
    for file in files:
        if len(found) == 1:
            checked = claims.check([file], found[0])
            ledgers.append(plain(checked))
            lines += [_line(row, found[0]) for row in checked.claims]
        else:
            rows = claims.check_together(file, found, _experiment_names(files))
            own = [{**plain(row), "run": one.run.id} for one, row in rows]
            ledgers.append({"file": file.file, "claims": own})
            lines += [_line(row, one) for one, row in rows]
    silent = False
    for run, one in opened if wanted else ():
        limited = thresholds.claim_rows(thresholds.of_run(wanted, run))
        silent |= any(row["verdict"] == thresholds.NOT_DECIDED for row in limited)
        ledgers.append({"claims": [{**row, "run": one.run.id} for row in limited]})
        lines += [Line(**row, run=one.run) for row in limited]
    if junit is not None:
        junit.write_bytes(junit_document(", ".join(one.run.id for one in found), lines))
    if as_json:
        verdicts = [{"run": one.run.id, "verdict": plain(one.verdict)} for one in found]
        head = verdicts[0] if len(verdicts) == 1 else {"runs": verdicts}
        click.echo(json.dumps({**head, "ledgers": ledgers}, ensure_ascii=False))
    else:
        _print(found, lines)
    fails = any(line.verdict == claims.DOES_NOT_HOLD for line in lines)
    return int(ExitCode.CLAIM_DOES_NOT_HOLD if fails or silent else ExitCode.DONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One claim or threshold as it is shown."""

    id: str
    text: str
    verdict: str
    sentence: str
    n: int | None
    would_decide: str | None
    run: RunFacts

    @property
    def undecided(self) -> str:
        """The sentence, with what would decide it."""
        decides = f" What would decide it: {self.would_decide}." if self.would_decide else ""
        return f"{self.sentence}{decides}"


def _line(row: LedgerRow, found: Findings) -> Line:
    return Line(
        id=row.id,
        text=row.text,
        verdict=row.verdict,
        sentence=row.sentence,
        n=row.n,
        would_decide=row.would_decide,
        run=found.run,
    )


def _trusted(path: Path) -> tuple[Run, Findings]:
    """The run and its findings; refused when it is INVALID."""
    from analysis.questions.asking import findings  # noqa: PLC0415 - pandas, which --help never needs
    from analysis.rundir.run import open_run  # noqa: PLC0415 - as above

    run = open_run(path)
    found = findings(run)
    if found.is_invalid:
        reasons = " ".join(found.verdict.reasons)
        raise InvalidRunError(f"{path} is INVALID, so no claim was checked in it: {reasons}")
    return run, found


def _experiment_names(files: Sequence[ClaimFile]) -> dict[str, str]:
    """The name that runs of an experiment carry, by what claims call the experiment's file."""
    experiments = {claim.experiment for one in files for claim in one.claims if claim.experiment}
    known = {file.name: file for file in catalogue.files()}
    names = {}
    for called in experiments:
        file = known.get(Path(called).name, Path(called))
        names[called] = read_experiment(file).name if file.is_file() else file.stem
    return names


def junit_document(run_id: str, lines: Sequence[Line]) -> bytes:
    """The ledger as JUnit XML: does not hold is a failure, not decided is skipped."""
    verdicts = [line.verdict for line in lines]
    suite = ET.Element(
        "testsuite",
        name=f"claims in {run_id}",
        tests=str(len(lines)),
        failures=str(verdicts.count("does not hold")),
        skipped=str(verdicts.count("not decided")),
        errors="0",
    )
    for line in lines:
        case = ET.SubElement(suite, "testcase", classname="claims", name=line.id)
        if line.verdict == "does not hold":
            failure = ET.SubElement(case, "failure", message=line.sentence)
            failure.text = line.text
        elif line.verdict == "not decided":
            ET.SubElement(case, "skipped", message=line.undecided)
        ET.SubElement(case, "system-out").text = f"{line.text}\n{line.sentence}"
    document: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return document


def _print(found: Sequence[Findings], lines: Sequence[Line]) -> None:
    from rich.table import Table  # noqa: PLC0415 - as above

    for one in found:
        click.echo(f"{one.run.id}: {one.verdict.verdict}")
        for reason in one.verdict.reasons:
            click.echo(f"  {reason}")
    table = Table(show_lines=True)
    for column in ("Claim", "Verdict", "Measured and claimed", "n"):
        table.add_column(column)
    for line in lines:
        said = line.undecided if line.verdict == "not decided" else line.sentence
        count = "–" if line.n is None else f"{line.n:,}"
        where = f"\n({line.run.name})" if len(found) > 1 else ""
        table.add_row(f"{line.id}\n{line.text}", line.verdict, f"{said}{where}", count)
    table_console().print(table)
    words = [
        f"{sum(line.verdict == verdict for line in lines)} {verdict}"
        for verdict in ("holds", "does not hold", "not decided")
    ]
    click.echo(f"{', '.join(words)}.")
