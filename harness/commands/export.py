"""``worthit export RUN --otlp URL``: send a run's traces to Jaeger or any OTLP backend."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
from opentelemetry.util.re import parse_env_headers

from analysis.run import Run, open_run
from harness.errors import ExitCode
from harness.export.delivery import Delivered, Delivery, Pace
from harness.export.messages import messages
from harness.export.selection import Chosen, Selection, choose
from harness.export.transports import open_transport

SPANS_EACH: Final = 512
"""Spans in one message: OpenTelemetry's default batch, well below any receiver's size limit."""

IN_FLIGHT: Final = 4
"""Messages unanswered at a time: hides the round trip, and a slow receiver slows us at once."""

TIMEOUT_S: Final = 10.0
"""OpenTelemetry's own default for one message."""

LINES: Final = 10
"""Plain progress lines in a whole replay, where stderr is no terminal."""


@click.command("export")
@click.argument("run_directory", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--otlp",
    "endpoint",
    metavar="URL",
    envvar="OTEL_EXPORTER_OTLP_ENDPOINT",
    required=True,
    help="Where to: http://HOST:4318 (OTLP/HTTP) or grpc://HOST:4317 (OTLP/gRPC). "
    "Headers, such as an Authorization, come from OTEL_EXPORTER_OTLP_HEADERS.",
)
@click.option(
    "--trace", "trace_id", metavar="ID", help="Only this trace; a unique beginning is enough."
)
@click.option(
    "--slowest",
    type=click.IntRange(min=1),
    metavar="N",
    help="Only the N traces whose root took longest, warm-up left out.",
)
@click.option("--arm", metavar="NAME", help="Only this arm.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=20_000.0,
    show_default=True,
    metavar="SPANS",
    help="At most this many spans a second.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def command(  # noqa: PLR0917 - click hands every option over by name
    run_directory: Path,
    endpoint: str,
    trace_id: str | None,
    slowest: int | None,
    arm: str | None,
    rate: float,
    *,
    as_json: bool,
) -> int:
    """Send the traces of RUN to Jaeger or any OTLP backend, ids and times kept.

    Every span carries worthit.run, worthit.arm, worthit.step, worthit.block and
    worthit.scenario, and cache.hit where it was a cache lookup: search for them.
    """
    run = open_run(run_directory)
    chosen = choose(run, Selection(trace_id=trace_id, slowest=slowest, arm=arm))
    started = time.monotonic()
    pace = Pace(spans_per_s=rate, in_flight=IN_FLIGHT)
    progress = _progress(chosen.span_count)
    delivered = asyncio.run(_deliver(run, chosen, endpoint, pace, progress))
    _report(run, chosen, endpoint, delivered, time.monotonic() - started, as_json=as_json)
    return int(ExitCode.TOOL_FAILED if delivered.rejected else ExitCode.DONE)


async def _deliver(
    run: Run, chosen: Chosen, endpoint: str, pace: Pace, on_progress: Callable[[int], None]
) -> Delivered:
    headers = parse_env_headers(os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""), liberal=True)
    transport = open_transport(endpoint, headers=headers, timeout_s=TIMEOUT_S)
    delivery = Delivery(transport, endpoint, pace, clock=time.monotonic, on_progress=on_progress)
    try:
        return await delivery.run(messages(run, chosen.traces, spans_each=SPANS_EACH))
    finally:
        await transport.close()


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


def _report(
    run: Run, chosen: Chosen, endpoint: str, delivered: Delivered, seconds: float, *, as_json: bool
) -> None:
    if as_json:
        document = {
            "run_id": run.manifest.run_id,
            "endpoint": endpoint,
            "traces": chosen.trace_count,
            "spans": delivered.spans,
            "rejected": delivered.rejected,
            "retries": delivered.retries,
            "seconds": round(seconds, 3),
        }
        click.echo(json.dumps(document))
        return
    click.echo(
        f"Sent {delivered.spans:,} spans of {chosen.trace_count:,} traces to {endpoint}"
        f" in {seconds:.1f} s ({delivered.retries} retries)."
    )
    if delivered.rejected:
        why = delivered.rejected_why or "no reason given"
        click.echo(f"The receiver rejected {delivered.rejected:,} spans: {why}", err=True)
    click.echo(f"Search there for the tag worthit.run={run.manifest.run_id}")
