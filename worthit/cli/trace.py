"""``worthit trace FILES``: one request as a tree, the slowest, the typical or any."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from worthit.cli.terminal import tracefiles
from worthit.cli.terminal.options import clocks_option, json_option
from worthit.contract.exit_codes import ExitCode
from worthit.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
"""Of the JSON document, docs/schemas/trace.schema.json. History: 1, the first; ``clock_skew`` came
later, and ``by_root``, the same for each root operation, where that is asked."""

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
    "--by",
    type=click.Choice(["root"]),
    help="Show one request of every root operation (shop: POST /orders); without it one of the "
    "main one, which is no health check, stream or background work.",
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
    by: str | None,
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

    chosen_by = [option for option in (which, "by" if by else None) if option]
    if chosen_by and trace_id:
        raise UsageError(f"--{chosen_by[0]} and --id both choose the request; name one of them.")
    loaded = tracefiles.load(files, skip_damaged=skip_damaged, column_map=column_map)
    which = which or "typical"
    skew = clock_skew.skew(loaded.spans)
    spans = clock_skew.corrected(loaded.spans) if correct_clocks else loaded.spans
    if by:
        chosen = waterfall.choose_by_root(loaded.spans, which)  # type: ignore[arg-type] # flag values
    else:
        chosen = {"": trace_id or waterfall.choose(loaded.spans, which)}  # type: ignore[arg-type] # as above
    shown = {root: _Shown.of(spans, one, skew) for root, one in chosen.items()}
    chosen_as = "asked for" if trace_id else which
    if as_json:
        first, *_ = shown.values()
        document = {
            "schema_version": SCHEMA_VERSION,
            **loaded.verdict,
            **first.document(chosen_as),
            "damaged": loaded.damaged,
        }
        if by:
            document["by_root"] = {root: one.document(which) for root, one in shown.items()}
        click.echo(json.dumps(document, ensure_ascii=False, allow_nan=False))
    else:
        lines = tracefiles.verdict_lines(loaded)
        for root, one in shown.items():
            lines += ["", root, ""] if root else []
            lines += tracefiles.skew_lines(one.skewed, corrected=correct_clocks)
            lines += _text(one.table, trace_id is None, which)
        click.echo("\n".join(lines))
    return int(ExitCode.RUN_INVALID if loaded.invalid else ExitCode.DONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """One request."""

    table: pd.DataFrame
    skewed: pd.DataFrame
    """Pairs of its services whose clocks differ."""

    @classmethod
    def of(cls, spans: pd.DataFrame, trace_id: str, skew: pd.DataFrame) -> _Shown:
        """Lay it out."""
        from analysis.questions.single_traces import waterfall  # noqa: PLC0415 - as above

        table = waterfall.waterfall(spans, trace_id)
        inside = skew["caller"].isin(table["service"]) & skew["callee"].isin(table["service"])
        return cls(table=table, skewed=skew[skew["skewed"] & inside])

    def document(self, chosen_as: str) -> dict[str, Any]:
        """Give it as JSON."""
        return {
            "trace_id": str(self.table["trace_id"].iloc[0]),
            "chosen_as": chosen_as,
            "spans": tracefiles.records(self.table.drop(columns="trace_id")),
            "clock_skew": tracefiles.records(self.skewed),
        }


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
