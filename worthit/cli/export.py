"""``worthit export RUN --otlp URL``: send a run's traces to Jaeger or any OTLP backend."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from worthit.cli.terminal.options import json_option, quiet_option
from worthit.contract.exit_codes import ExitCode

if TYPE_CHECKING:
    from worthit.export.replay import Replayed

LINES: Final = 10
"""Plain progress lines in a whole replay, where stderr is no terminal."""


@click.command("export")
@click.argument("run_directory", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--otlp",
    "endpoint",
    metavar="URL",
    envvar="OTEL_EXPORTER_OTLP_ENDPOINT",
    show_envvar=True,
    required=True,
    help="Where to send: http://HOST:4318 (OTLP/HTTP) or grpc://HOST:4317 (OTLP/gRPC). "
    "Headers, such as an Authorization, come from OTEL_EXPORTER_OTLP_HEADERS.",
)
@click.option(
    "--trace", "trace_id", metavar="ID", help="Only this trace; the beginning of its id is enough."
)
@click.option("--slowest", type=click.IntRange(1), metavar="N", help="Only the N longest traces.")
@click.option("--arm", metavar="NAME", help="Only this arm.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=20_000.0,
    show_default=True,
    metavar="SPANS",
    help="At most this many spans per second.",
)
@json_option
@quiet_option
def command(
    *,
    run_directory: Path,
    endpoint: str,
    trace_id: str | None,
    slowest: int | None,
    arm: str | None,
    rate: float,
    as_json: bool,
    quiet: bool,
) -> int:
    """Send the traces of RUN to Jaeger or any OTLP backend with their own ids and times.

    Every span carries worthit.run, worthit.arm, worthit.step, worthit.block and
    worthit.scenario, and cache.hit where it was a cache lookup: search for them.
    """
    from worthit.export.replay import replay  # noqa: PLC0415 - its help must not wait for pandas
    from worthit.export.selection import Selection  # noqa: PLC0415 - as above

    wanted = Selection(trace_id=trace_id, slowest=slowest, arm=arm)
    progress = _silent if quiet else _progress
    replayed = replay(run_directory, endpoint, wanted, spans_per_s=rate, progress=progress)
    _say(replayed, endpoint, as_json=as_json)
    return int(ExitCode.TOOL_FAILED if replayed.rejected else ExitCode.DONE)


def _silent(_total: int) -> Callable[[int], None]:
    return lambda _spans: None


def _progress(total: int) -> Callable[[int], None]:
    """A line that is rewritten on a terminal; on anything else, ten plain lines."""
    done = 0
    terminal = sys.stderr.isatty()
    step = max(1, total // LINES)
    next_line = step

    def show(spans: int) -> None:
        nonlocal done, next_line
        done += spans
        text = f"sent {done:,} of {total:,} spans ({done / total:.0%})"
        if terminal:
            click.echo(f"\r{text}", nl=done >= total, err=True)
        elif done >= next_line:
            next_line = done + step
            click.echo(text, err=True)

    return show


def _say(replayed: Replayed, endpoint: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"endpoint": endpoint, **asdict(replayed)}))
        return
    click.echo(
        f"Sent {replayed.spans:,} spans of {replayed.traces:,} traces to {endpoint}"
        f" in {replayed.seconds:.1f} s ({replayed.retries} retries)."
    )
    if replayed.rejected:
        why = replayed.rejected_why or "no reason given"
        click.echo(f"The receiver rejected {replayed.rejected:,} spans: {why}", err=True)
    click.echo(f"Search there for the tag worthit.run={replayed.run_id}")
