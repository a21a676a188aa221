"""What does reading traces cost against parsing them only?

Jaeger JSON against `orjson.loads` of the same bytes, as a Python program calls it (with the cycle
collector running) and with the collector paused, as our reader has it; then a recorder's file to
Parquet. CPU seconds, the least of three.
"""

from __future__ import annotations

import gc
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from analysis import traces
from benchmarks.support.synthetic_traces import (
    BEGINS_MS,
    NAMES,
    PARENTS,
    SPANS_PER_TRACE,
    TAKES_MS,
)

TRACES = 5_000
WANTED_RATIO = 2.0
WANTED_SPANS_PER_S = 100_000
_TEXTS = {
    "db.system.name": "postgresql",
    "db.operation.name": "SELECT",
    "db.collection.name": "personalities",
    "db.query.summary": "SELECT personalities",
    "db.query.text": "SELECT id, config FROM personalities WHERE name = $1",
    "otel.scope.name": "chat",
}
_START_US = 1_795_442_400_000_000


def main(argv: Sequence[str]) -> int:
    """Run it; 1 where a figure misses what is wanted."""
    del argv
    with tempfile.TemporaryDirectory(prefix="worthit-bench-") as name:
        folder = Path(name)
        (folder / "jaeger.json").write_bytes(orjson.dumps({"data": _jaeger()}))
        (folder / "recorded").write_bytes(b"".join(_recorded()))
        traces.read(folder / "jaeger.json")  # compiles, or loads what was compiled
        reached = _json(folder / "jaeger.json")
        return 0 if _protobuf(folder) and reached else 1


def _json(file: Path) -> bool:
    content, count = file.read_bytes(), TRACES * SPANS_PER_TRACE
    plain = _least(lambda: orjson.loads(content) and None)
    gc.disable()
    paused = _least(lambda: orjson.loads(content) and None)
    gc.enable()
    ours = _least(lambda: traces.read(file) is None)
    print(f"Jaeger JSON, {count:,} spans of {len(content) / count:.0f} bytes, CPU seconds:")
    print(f"  orjson.loads alone {plain:.3f}; with the collector paused {paused:.3f}")
    print(f"  traces.read {ours:.3f} = {count / ours:,.0f} spans/s")
    print(f"  ratio {ours / plain:.2f} to the first, {ours / paused:.2f} to the second (wanted 2)")
    return ours / paused <= WANTED_RATIO


def _protobuf(folder: Path) -> bool:
    count = TRACES * SPANS_PER_TRACE
    took = _least(lambda: traces.convert(folder / "recorded", folder / "spans.parquet") is None)
    print(
        f"recorder's file to Parquet: {took:.3f} s = {count / took:,.0f} spans/s (wanted 100,000)"
    )
    return count / took >= WANTED_SPANS_PER_S


def _least(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


def _jaeger() -> list[dict[str, Any]]:
    rng = random.Random(2)
    found = []
    for trace in range(TRACES):
        trace_id = rng.randbytes(16).hex()
        ids = [rng.randbytes(8).hex() for _ in NAMES]
        spans = [
            {
                "traceID": trace_id, "spanID": ids[i], "flags": 1, "operationName": NAMES[i],
                "references": []
                if PARENTS[i] < 0
                else [{"refType": "CHILD_OF", "traceID": trace_id, "spanID": ids[PARENTS[i]]}],
                "startTime": _START_US + trace * 10_000 + BEGINS_MS[i] * 1000,
                "duration": TAKES_MS[i] * 1000,
                "tags": [
                    {"key": "span.kind", "type": "string", "value": "client"},
                    *({"key": k, "type": "string", "value": v} for k, v in _TEXTS.items()),
                ],
                "logs": [], "processID": "p1", "warnings": None,
            }
            for i in range(SPANS_PER_TRACE)
        ]  # fmt: skip
        about = {"p1": {"serviceName": "chat", "tags": []}}
        found.append({"traceID": trace_id, "spans": spans, "processes": about, "warnings": None})
    return found


def _recorded() -> list[bytes]:
    """Messages of 16 traces each, with their lengths."""
    rng = random.Random(3)
    found = []
    for begin in range(0, TRACES, 16):
        message = ExportTraceServiceRequest()
        resource = message.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = "chat"
        scope = resource.scope_spans.add()
        for trace in range(begin, min(begin + 16, TRACES)):
            trace_id, ids = rng.randbytes(16), [rng.randbytes(8) for _ in NAMES]
            for i, name in enumerate(NAMES):
                start = (_START_US + trace * 10_000 + BEGINS_MS[i] * 1000) * 1000
                span = scope.spans.add(
                    trace_id=trace_id, span_id=ids[i], name=name, kind=3, flags=0x101,
                    parent_span_id=ids[PARENTS[i]] if i else b"",
                    start_time_unix_nano=start,
                    end_time_unix_nano=start + TAKES_MS[i] * 1_000_000 + rng.randrange(10**6),
                )  # fmt: skip
                for key, text in _TEXTS.items():
                    span.attributes.add(key=key).value.string_value = text
                emulated = span.attributes.add(key="worthit.emulated_ns")
                emulated.value.int_value = rng.randrange(10**7)
                if not i:
                    span.attributes.add(key="worthit.arm").value.string_value = "off"
        body = message.SerializeToString()
        found.append(_varint(len(body)) + body)
    return found


def _varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
