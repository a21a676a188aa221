"""Every span given to the exporter is accounted for: accepted, or lost and counted."""

from __future__ import annotations

import asyncio
import random

import pytest

from reference_service.telemetry import wire
from reference_service.telemetry.export import OtlpPoster, SpanExporter
from reference_service.telemetry.spans import SpanShape, Tracer
from tests.support.servers.otlp_receiver import Receiver, receiver


def _frame(spans: list[bytes]) -> bytes:
    return wire.trace_request(
        resource_body=wire.resource({"service.name": "chat"}),
        scope_body=wire.scope("reference_service", "1.0.0"),
        spans=spans,
        schema_url="",
    )


def _exported(url: str, count: int, headers: dict[str, str] | None = None) -> SpanExporter:
    exporter = SpanExporter(OtlpPoster(url, "/v1/traces", headers), _frame)
    tracer = Tracer(exporter.add, random.Random(1))
    exporter.start()
    for _ in range(count):
        with tracer.span(SpanShape("x")):
            pass
    exporter.stop()
    return exporter


def _rejecting(state: Receiver) -> None:
    state.reject = 2


def _refusing(state: Receiver) -> None:
    state.answers = [(400, {})]


@pytest.mark.parametrize(
    ("change", "sent", "dropped"),
    [(lambda _: None, 5, 0), (_rejecting, 3, 2), (_refusing, 0, 5)],
    ids=["taken", "partial success", "refused"],
)
async def test_a_collector_is_taken_at_its_word(change: object, sent: int, dropped: int) -> None:
    """What a collector says it rejected counts as dropped, also when its status is 200."""
    async with receiver(change) as collector:  # type: ignore[arg-type]  # one of the above
        exporter = await asyncio.to_thread(_exported, collector.url, 5)

    assert (sent, dropped) == (exporter.sent, exporter.dropped)


async def test_what_is_left_at_the_end_is_dropped_and_counted() -> None:
    """Spans that were not taken before the process ended are counted as lost."""
    async with receiver() as collector:
        pass  # nobody listens there any more
    exporter = await asyncio.to_thread(_exported, collector.url, 5)

    assert (0, 5) == (exporter.sent, exporter.dropped)


async def test_the_collectors_headers_are_sent() -> None:
    """A collector that wants a token gets it with every batch."""
    async with receiver() as collector:
        await asyncio.to_thread(_exported, collector.url, 1, {"authorization": "Bearer t"})

    assert {"Bearer t"} == collector.authorizations
