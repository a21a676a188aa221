"""Send a run, or a part of it, to one endpoint, and say how it went."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opentelemetry.util.re import parse_env_headers

from analysis.rundir.run import Run, open_run
from worthit.export.delivery import Delivered, Delivery, Pace
from worthit.export.messages import messages
from worthit.export.selection import Chosen, Selection, choose
from worthit.export.transports import open_transport

SPANS_EACH: Final = 512
"""Spans in one message: OpenTelemetry's default batch, well below any receiver's size limit."""

IN_FLIGHT: Final = 4
"""Messages unanswered at a time: hides the round trip, and a slow receiver slows us at once."""

TIMEOUT_S: Final = 10.0
"""OpenTelemetry's own default for one message."""

HEADERS_VARIABLE: Final = "OTEL_EXPORTER_OTLP_HEADERS"
"""OpenTelemetry's own variable; a key in it is not on the command line for all to see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """How a replay went."""

    run_id: str
    traces: int
    spans: int
    rejected: int
    rejected_why: str
    retries: int
    seconds: float


def replay(
    run_directory: Path,
    endpoint: str,
    wanted: Selection,
    *,
    spans_per_s: float,
    progress: Callable[[int], Callable[[int], None]],
) -> Replayed:
    """Send what is ``wanted`` of a run to an OTLP endpoint.

    Parameters
    ----------
    run_directory, endpoint, wanted
        What to send where.
    spans_per_s
        Upper bound of the rate.
    progress
        Called once with the number of spans to come; what it gives, with each number sent.

    Raises
    ------
    UsageError, InputError, ColumnError
        When the run, the selection or the address is wrong; nothing was sent.
    DeliveryError
        When the endpoint is out of reach, refuses, or stops answering.
    """
    run = open_run(run_directory)
    chosen = choose(run, wanted)
    started = time.monotonic()
    pace = Pace(spans_per_s=spans_per_s, in_flight=IN_FLIGHT)
    delivered = asyncio.run(_deliver(run, chosen, endpoint, pace, progress(chosen.span_count)))
    return Replayed(
        run_id=run.manifest.run_id,
        traces=chosen.trace_count,
        spans=delivered.spans,
        rejected=delivered.rejected,
        rejected_why=delivered.rejected_why,
        retries=delivered.retries,
        seconds=time.monotonic() - started,
    )


async def _deliver(
    run: Run, chosen: Chosen, endpoint: str, pace: Pace, on_progress: Callable[[int], None]
) -> Delivered:
    headers = parse_env_headers(os.environ.get(HEADERS_VARIABLE, ""), liberal=True)
    transport = open_transport(endpoint, headers=headers, timeout_s=TIMEOUT_S)
    delivery = Delivery(transport, endpoint, pace, clock=time.monotonic, on_progress=on_progress)
    try:
        return await delivery.run(messages(run, chosen.traces, spans_each=SPANS_EACH))
    finally:
        await transport.close()
