"""``worthit shares FILES...``: where does one request's time go?"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from worthit.cli.terminal import tracefiles
from worthit.cli.terminal.options import json_option
from worthit.errors import ExitCode

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
"""Of the JSON document, docs/schemas/shares.schema.json. History: 1, the first."""
_COLUMNS = ("kind", "arm", "step", "block", "follows_from")
"""What shares and issues depend on beside what every spans table has."""


@click.command("shares")
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--rules",
    type=click.Choice(["jaeger", "crisp"]),
    default="jaeger",
    show_default=True,
    help="Whose critical path.",
)
@click.option("--by-arm", is_flag=True, help="One table an arm, where the traces name arms.")
@click.option(
    "--skip-damaged", is_flag=True, help="Leave damaged files and lines out, and say so."
)
@click.option(
    "--partitions",
    type=click.IntRange(min=1),
    metavar="N",
    help="Go through the traces in so many parts, on disk meanwhile: for what does not fit into "
    "memory. The answer is the same.",
)
@json_option
def command(
    files: tuple[str, ...],
    *,
    rules: str,
    by_arm: bool,
    skip_damaged: bool,
    partitions: int | None,
    as_json: bool,
) -> int:
    """Each operation's share of the requests' time, with its interval.

    FILES are run directories, files or folders of traces (Parquet, OTLP, Jaeger, Zipkin; gzipped
    or not), or a Jaeger's address. Ends with 4 where the run is INVALID.
    """
    with tracefiles.in_parts(
        files, skip_damaged=skip_damaged, columns=_COLUMNS, partitions=partitions
    ) as loaded:
        answer = _answer(loaded.parts, rules, "arm" if by_arm else None)
    if as_json:
        document = {
            "schema_version": SCHEMA_VERSION,
            "rules": rules,
            **loaded.verdict,
            "spans": answer.spans,
            "requests": answer.requests,
            "interval": answer.table.attrs["interval"],
            "other_definitions": answer.moved,
            "shares": tracefiles.records(answer.table),
            "issues": tracefiles.records(answer.trace_issues),
            "damaged": loaded.damaged,
        }
        click.echo(json.dumps(document, ensure_ascii=False, allow_nan=False))
    else:
        for line in [*tracefiles.verdict_lines(loaded), *_text(answer)]:
            click.echo(line)
    return int(ExitCode.RUN_INVALID if loaded.invalid else ExitCode.DONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What is shown, of all parts together."""

    spans: int
    requests: int
    table: pd.DataFrame
    moved: str
    trace_issues: pd.DataFrame


def _answer(parts: Iterable[pd.DataFrame], rules: str, by: str | None) -> _Answer:
    """Ask every part, and add up what can be added up."""
    from analysis import shares  # noqa: PLC0415 - --help need not wait
    from analysis.checks import trace_quality  # noqa: PLC0415 - as above
    from analysis.questions.shares import definitions  # noqa: PLC0415 - --help need not wait

    sizes, asked, trace_issues = [], [], []
    both: dict[str, list[shares.Sums]] = {"jaeger": [], "crisp": []}
    for part in parts:
        sizes.append((len(part), part["trace_id"].nunique()))
        asked.append(shares.sums(part, rules, by=by))  # type: ignore[arg-type] # click checked it
        trace_issues.append(trace_quality.counted(part))
        for name, sums in both.items():
            sums.append(shares.sums(part, name))  # type: ignore[arg-type] # the two rules' names
    own, other = (shares.from_sums(sums) for sums in both.values())
    spans, requests = (int(sum(counts)) for counts in zip(*sizes, strict=True))
    return _Answer(
        spans=spans,
        requests=requests,
        table=shares.from_sums(asked),
        moved=definitions.sentence(definitions.compared(own, other)),
        trace_issues=trace_quality.together(trace_issues),
    )


def _text(answer: _Answer) -> list[str]:
    if not answer.spans:
        return ["There are no spans: nothing can be said about where the time goes."]
    lines = [f"{answer.requests} requests, {answer.spans} spans", "", _table(answer.table), ""]
    intervals = answer.table.attrs["interval"]
    if isinstance(intervals, dict):
        lines += [f"{arm}: {sentence}" for arm, sentence in intervals.items()]
    else:
        lines.append(intervals)
    lines.append(answer.moved)
    for row in answer.trace_issues.itertuples():
        lines.append(
            f"{row.issue}: {row.spans} spans in {row.traces} requests, such as {row.example}. "
            f"{row.treatment}"
        )
    return lines


def _table(table: pd.DataFrame) -> str:
    from analysis.document import formatting  # noqa: PLC0415 - as above

    groups = ["arm"] if "arm" in table.columns else []
    rows: list[list[str]] = [
        [*groups, "service", "operation", "per request", "self ms", "on path ms", "share"]
    ]
    for row in table.to_dict(orient="records"):
        cells: list[Any] = [str(row[name]) for name in (*groups, "service", "name")]
        cells += [
            formatting.plain(row[name]) for name in ("per_request", "self_ms", "critical_ms")
        ]
        cells.append(
            formatting.estimate(row["share"], row["share_low"], row["share_high"], "share")
        )
        rows.append(cells)
    return tracefiles.text_table(rows, left=len(groups) + 2)
