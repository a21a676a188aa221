"""What each part of tracing costs: a span, its encoding, the caller's context, a recording."""

from __future__ import annotations

import time
from collections.abc import Callable

from opentelemetry import propagate
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind
from typing_extensions import override

from reference_service.telemetry import names
from reference_service.telemetry.load_baggage import caller_context
from reference_service.telemetry.metrics import Instruments
from reference_service.telemetry.spans import recorded

CALLS = 20_000
SPANS_OF_A_CHAT, RECORDINGS_OF_A_CHAT, CALLS_OF_A_CHAT = 14, 8, 2
"""With the personality cache on, and hit; the last are the model's, which are sent the context."""
ATTRIBUTES: names.Attributes = {
    **names.postgres(
        operation="SELECT",
        collection="preferences",
        namespace="chat",
        address="127.0.0.1",
        port=5432,
    ),
    "db.query.summary": "SELECT preferences",
    "db.query.text": "SELECT language, tone, reply_length FROM preferences WHERE user_id = $1",
}
HEADERS = {
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "baggage": "worthit.run=x,worthit.arm=on,worthit.step=2,worthit.block=3,"
    "worthit.scenario=chat,worthit.draw=1000000007",
}


class _Kept(SpanProcessor):
    """Keeps finished spans, as a batch processor does until it exports."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    @override
    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def _microseconds(work: Callable[[], object], calls: int = CALLS) -> float:
    """Return the CPU microseconds of one call: the least of five tries."""
    tries = []
    for _ in range(5):
        began = time.process_time()
        for _ in range(calls // 5):
            work()
        tries.append((time.process_time() - began) / (calls // 5) * 1e6)
    return min(tries)


def print_span_costs() -> None:
    """Print each part's cost, and what a chat has of it."""
    kept = _Kept()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(kept)
    tracer = provider.get_tracer("benchmark")
    instruments = Instruments(
        MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False).get_meter("benchmark")
    )

    def span() -> None:
        with recorded(tracer, "SELECT preferences", SpanKind.CLIENT, ATTRIBUTES) as started:
            started.set_attribute(names.POOL_WAIT_NS, 12_345)

    made = _microseconds(span)
    batch = kept.spans[:512]
    parts = {
        "a span, made and ended": (made, SPANS_OF_A_CHAT),
        "a span, encoded for OTLP": (
            _microseconds(lambda: encode_spans(batch).SerializePartialToString(), 50) / len(batch),
            SPANS_OF_A_CHAT,
        ),
        "the caller's context, read": (_microseconds(lambda: caller_context(HEADERS)), 1),
        "the context, passed on": (
            _microseconds(lambda: propagate.inject({}, caller_context(HEADERS)))
            - _microseconds(lambda: caller_context(HEADERS)),
            CALLS_OF_A_CHAT,
        ),
    }
    print("what tracing costs, CPU microseconds:         once    a chat")
    for name, (once, times) in parts.items():
        print(f"  {name:<40} {once:7.1f}  {once * times:8.0f}")
    total = sum(once * times for once, times in parts.values())
    print(f"  {'together':<40} {'':7}  {total:8.0f}")
    recording = _microseconds(lambda: instruments.database_duration.record(0.001, ATTRIBUTES))
    print(
        f"  {'a metric recorded, traced or not':<40} {recording:7.1f}"
        f"  {recording * RECORDINGS_OF_A_CHAT:8.0f}"
    )
