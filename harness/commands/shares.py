"""``worthit shares FILES...``: where does one request's time go?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from harness.commands import tracefiles
from harness.commands.options import json_option
from harness.errors import ExitCode

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
"""Of the JSON document, docs/schemas/shares.schema.json. History: 1, the first."""


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
@json_option
def command(
    files: tuple[str, ...], *, rules: str, by_arm: bool, skip_damaged: bool, as_json: bool
) -> int:
    """Each operation's share of the requests' time, with its interval.

    FILES are run directories, files or folders of traces (Parquet, OTLP, Jaeger, Zipkin; gzipped
    or not), or a Jaeger's address. Ends with 4 where the run is INVALID.
    """
    from analysis import definitions, doubts, shares  # noqa: PLC0415 - --help need not wait

    loaded = tracefiles.load(files, skip_damaged=skip_damaged)
    spans = loaded.spans
    table = shares.request_shares(spans, rules, by="arm" if by_arm else None)  # type: ignore[arg-type] # click checked it
    moved = definitions.sentence(definitions.definitions(spans))
    doubtful = doubts.doubts(spans)
    if as_json:
        document = {
            "schema_version": SCHEMA_VERSION,
            "rules": rules,
            **loaded.verdict,
            "spans": len(spans),
            "requests": int(spans["trace_id"].nunique()),
            "interval": table.attrs["interval"],
            "other_definitions": moved,
            "shares": tracefiles.records(table),
            "doubts": tracefiles.records(doubtful),
            "damaged": loaded.damaged,
        }
        click.echo(json.dumps(document, ensure_ascii=False, allow_nan=False))
    else:
        for line in [*tracefiles.verdict_lines(loaded), *_text(spans, table, moved, doubtful)]:
            click.echo(line)
    return int(ExitCode.RUN_INVALID if loaded.invalid else ExitCode.DONE)


def _text(
    spans: pd.DataFrame, table: pd.DataFrame, moved: str, doubtful: pd.DataFrame
) -> list[str]:
    if spans.empty:
        return ["There are no spans: nothing can be said about where the time goes."]
    lines = [f"{spans['trace_id'].nunique()} requests, {len(spans)} spans", "", _table(table), ""]
    intervals = table.attrs["interval"]
    if isinstance(intervals, dict):
        lines += [f"{arm}: {sentence}" for arm, sentence in intervals.items()]
    else:
        lines.append(intervals)
    lines.append(moved)
    for row in doubtful.itertuples():
        lines.append(
            f"{row.doubt}: {row.spans} spans in {row.traces} requests, such as {row.example}. "
            f"{row.treatment}"
        )
    return lines


def _table(table: pd.DataFrame) -> str:
    from analysis import formatting  # noqa: PLC0415 - as above

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
