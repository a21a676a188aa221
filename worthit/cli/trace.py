"""``worthit trace FILES``: one request as a tree, the slowest, the typical or any."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from worthit.cli.terminal import tracefiles
from worthit.cli.terminal.options import clocks_option, json_option
from worthit.contract.exit_codes import ExitCode
from worthit.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
"""Of the JSON document, docs/schemas/trace.schema.json. History: 1, the first; ``clock_skew`` came
later."""

_BAR = 40
"""Characters of the time axis."""
_DEEPEST = 20
"""Levels that are shown by indentation; below, the level is a number, and lines stay readable."""


@click.command("trace")
@click.argument("files", nargs=-1, required=True)
@click.option("--slowest", "which", flag_value="slowest", help="The request that took longest.")
@click.option(
    "--typical",
    "which",
    flag_value="typical",
    help="The request whose critical path differs least from all others'. This is the default.",
)
@click.option(
    "--id", "trace_id", metavar="TRACE_ID", help="This request; the beginning of its id is enough."
)
@clocks_option
@tracefiles.columns_option
@click.option(
    "--skip-damaged", is_flag=True, help="Leave out damaged files and lines, and list them."
)
@json_option
def command(
    files: tuple[str, ...],
    *,
    which: str | None,
    trace_id: str | None,
    correct_clocks: bool,
    skip_damaged: bool,
    column_map: dict[str, str] | None,
    as_json: bool,
) -> int:
    """Show one request's spans: when each ran, its own time, its time on the critical path.

    FILES are run directories, files or folders of traces (OTLP, Jaeger, Tempo, Zipkin, ClickHouse,
    console exporters, CSV, Parquet; packed or not), standard input (-), or a Jaeger's address.
    Ends with 4 where the run is INVALID.
    """
    from analysis.calltree import clock_skew  # noqa: PLC0415 - --help must not wait for pandas
    from analysis.questions.single_traces import waterfall  # noqa: PLC0415 - as above

    if which and trace_id:
        raise UsageError(f"--{which} and --id both choose the request; name one of them.")
    loaded = tracefiles.load(files, skip_damaged=skip_damaged, column_map=column_map)
    which = which or "typical"
    chosen = trace_id or waterfall.choose(loaded.spans, which)  # type: ignore[arg-type] # flag values
    skew = clock_skew.skew(loaded.spans)
    spans = clock_skew.corrected(loaded.spans) if correct_clocks else loaded.spans
    table = waterfall.waterfall(spans, chosen)
    in_trace = skew["caller"].isin(table["service"]) & skew["callee"].isin(table["service"])
    skewed = skew[skew["skewed"] & in_trace]
    if as_json:
        document = {
            "schema_version": SCHEMA_VERSION,
            **loaded.verdict,
            "trace_id": str(table["trace_id"].iloc[0]),
            "chosen_as": "asked for" if trace_id else which,
            "spans": tracefiles.records(table.drop(columns="trace_id")),
            "clock_skew": tracefiles.records(skewed),
            "damaged": loaded.damaged,
        }
        click.echo(json.dumps(document, ensure_ascii=False, allow_nan=False))
    else:
        for line in [
            *tracefiles.verdict_lines(loaded),
            *tracefiles.skew_lines(skewed, corrected=correct_clocks),
            *_text(table, trace_id is None, which),
        ]:
            click.echo(line)
    return int(ExitCode.RUN_INVALID if loaded.invalid else ExitCode.DONE)


def _text(table: pd.DataFrame, chosen: bool, which: str) -> list[str]:  # noqa: FBT001 - one flag
    from analysis.document import formatting  # noqa: PLC0415 - as above

    ends = table["start_ms"] + table["duration_ms"].fillna(0)
    begin, end = float(table["start_ms"].min()), float(ends.max())
    head = f"Trace {table['trace_id'].iloc[0]}"
    rows = [["operation", "service", "start", "took", "self", "on path", _axis(begin, end), ""]]
    for row in table.to_dict(orient="records"):
        took = row["duration_ms"]
        rows.append(
            [
                _indent(row["depth"]) + str(row["name"]),
                str(row["service"]),
                *(
                    formatting.plain(row[name], "ms")
                    for name in ("start_ms", "duration_ms", "self_ms", "critical_ms")
                ),
                _bar(row["start_ms"] - begin, 0.0 if took != took else took, end - begin),  # noqa: PLR0124 - NaN
                str(row["note"]),
            ]
        )
    return [
        f"{head}, the {which} request" if chosen else head,
        "",
        tracefiles.text_table(rows, left=2),
    ]


def _indent(depth: int) -> str:
    return "  " * depth if depth <= _DEEPEST else f"{'  ' * _DEEPEST}({depth}) "


def _axis(begin: float, end: float) -> str:
    from analysis.document import formatting  # noqa: PLC0415 - as above

    return formatting.plain(end - begin, "ms").rjust(_BAR)


def _bar(after_ms: float, took_ms: float, whole_ms: float) -> str:
    """Draw when a span ran; a span too short to see is one character."""
    scale = _BAR / whole_ms if whole_ms > 0 else 0.0
    start = min(int(after_ms * scale), _BAR - 1)
    length = max(1, min(round(took_ms * scale), _BAR - start))
    return (" " * start + "█" * length).ljust(_BAR)
