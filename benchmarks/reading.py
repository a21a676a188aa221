"""What does reading traces cost against parsing them only?

Every JSON format against `orjson.loads` of the same bytes, a document at a time, with its objects
kept, by turns in one process; then a recorder's file to Parquet. CPU time, the least of three.
"""

from __future__ import annotations

import gc
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from analysis import traces
from benchmarks.support import json_traces
from benchmarks.support.synthetic_traces import (
    BEGINS_MS,
    NAMES,
    PARENTS,
    SPANS_PER_TRACE,
    TAKES_MS,
)

TRACES = 2_500
WANTED_RATIO = 0.5
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
        (folder / "recorded").write_bytes(b"".join(_recorded()))
        reached = _json(folder)
        return 0 if _protobuf(folder) and reached else 1


def _json(folder: Path) -> bool:
    """Print a table of all formats; whether each is read at least half as fast as it is parsed."""
    print(f"{'':<34}{'bytes a span':>13}{'orjson, us':>12}{'read, us':>10}{'orjson / read':>15}")
    reached = True
    for name, content in json_traces.files(TRACES):
        file = folder / "traces.json"
        file.write_bytes(content)
        traces.read(file)  # compiles, or loads what was compiled
        documents = _documents(content)
        plain, ours = _interleaved(
            lambda documents=documents: [orjson.loads(one) for one in documents],
            lambda file=file: traces.read(file),
        )
        count = TRACES * SPANS_PER_TRACE
        reached = reached and plain / ours >= WANTED_RATIO
        print(
            f"{name:<34}{len(content) / count:>13.0f}{plain / count * 1e6:>12.2f}"
            f"{ours / count * 1e6:>10.2f}{plain / ours:>14.2f}x"
        )
    print(f"at least {WANTED_RATIO}x is wanted of each: {'reached' if reached else 'MISSED'}")
    return reached


def _documents(content: bytes) -> list[bytes]:
    """Give what a plain parse is called with: the whole, each line, or each indented document."""
    if content.startswith(b"{\n"):
        return [part + b"}" for part in content.split(b"\n}\n")[:-1]]
    return content.splitlines()


def _interleaved(plain: Callable[[], object], ours: Callable[[], object]) -> tuple[float, float]:
    """Give CPU seconds of both, the least of three turns, with the cycle collector paused."""
    best = [float("inf")] * 2
    gc.disable()
    try:
        for _ in range(3):
            for place, work in enumerate((plain, ours)):
                began = time.process_time()
                found = work()
                best[place] = min(best[place], time.process_time() - began)
                del found
    finally:
        gc.enable()
    return best[0], best[1]


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
