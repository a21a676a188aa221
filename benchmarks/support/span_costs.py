"""The cost of one span, made, ended and encoded: the service's own and the SDK's."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind
from typing_extensions import override

from reference_service.handlers.request_span import read_caller
from reference_service.telemetry import names
from reference_service.telemetry.spans import Tracer

SPANS = 20_000
SHAPE = names.postgres_shape(
    operation="SELECT",
    collection="preferences",
    text="SELECT language, tone, reply_length FROM preferences WHERE user_id = $1",
    namespace="chat",
)
BAGGAGE = (
    b"worthit.run=x,worthit.arm=on,worthit.step=2,worthit.block=3,worthit.scenario=chat,"
    b"worthit.draw=1000000007"
)
HEADERS = [
    (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    (b"baggage", BAGGAGE),
]


class _Kept(SpanProcessor):
    """Keeps finished spans, as a batch processor does until it exports."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    @override
    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def _microseconds(work: Callable[[], object], times: int = SPANS) -> float:
    """Return the CPU microseconds of one call: the least of five tries."""
    tries = []
    for _ in range(5):
        began = time.process_time()
        for _ in range(times // 5):
            work()
        tries.append((time.process_time() - began) / (times // 5) * 1e6)
    return min(tries)


def print_span_costs() -> None:
    """Print the cost of a query's span with one attribute set, and of the request's context."""
    encoded: list[bytes] = []
    tracer = Tracer(encoded.append, random.Random(1))

    def ours() -> None:
        with tracer.span(SHAPE) as span:
            span.set(names.POOL_WAIT_NS, 12_345)

    kept = _Kept()
    provider = TracerProvider()
    provider.add_span_processor(kept)
    sdk = provider.get_tracer("benchmark")

    def theirs() -> None:
        with sdk.start_as_current_span(
            SHAPE.name, kind=SpanKind.CLIENT, attributes=SHAPE.attributes
        ) as span:
            span.set_attribute(names.POOL_WAIT_NS, 12_345)

    print("where tracing goes, CPU microseconds:")
    print(f"  a span here, made, ended and encoded:     {_microseconds(ours):5.1f}")
    print(f"  a span of the SDK, made and ended:        {_microseconds(theirs):5.1f}")
    batch = kept.spans[:500]
    encoding = _microseconds(lambda: encode_spans(batch), 50) / len(batch)
    print(f"  and encoded by its OTLP exporter:         {encoding:5.1f}")
    context = _microseconds(lambda: read_caller({"headers": HEADERS}))
    print(f"  reading traceparent and baggage:          {context:5.1f}")
    print("  a chat has 14 spans; the thread that posts them adds some 2 us each")
