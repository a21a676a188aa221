"""What does a recorded span cost in CPU, and is any lost at thousands a second?

Batches of chat traces (10 spans, about 8 attributes each) are sent as the SDK's exporters send
them: by HTTP, gzipped, as JSON and by gRPC. The recorder's own CPU is read, and every span
is counted again from the file it wrote. The last lines hold a rate, as a run does.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import aiohttp
import grpc.aio
import psutil
import uvloop

from tests.support.traces.otlp import (
    STAGES,
    batch_of_traces,
    json_of_traces,
    read_recording,
    spans_in,
)
from worthit.environment.recorder import Recorder
from worthit.process.workspace import Workspace

Send = Callable[[bytes], Awaitable[None]]
"""Sends one batch and raises when it was not taken."""

GRPC_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
"""OTLP/gRPC's method for traces."""


Ways = dict[str, tuple[Send, Sequence[bytes]]]
"""Transport -> how to send by it, and what."""


@dataclass(frozen=True)
class Given:
    """What the command line asked for."""

    traces: int
    rate: float
    seconds: float


@dataclass(frozen=True)
class Held:
    """How a held rate went."""

    spans: int
    worst_s: float


def poster(session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> Send:
    """A sender by HTTP."""

    async def send(body: bytes) -> None:
        async with session.post(f"{url}/v1/traces", data=body, headers=headers) as answer:
            if answer.status != 200:
                raise RuntimeError(f"status {answer.status}")

    return send


async def cost(recorder: Recorder, send: Send, bodies: Sequence[bytes], spans: int) -> float:
    """CPU microseconds a span for sending all of `bodies`, which hold `spans` spans."""
    process = psutil.Process(recorder.process.pid)
    before = process.cpu_times()
    for body in bodies:
        await send(body)
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / spans * 1e6


async def hold(send: Send, body: bytes, spans: int, rate: float, seconds: float) -> Held:
    """Offer `rate` spans a second for `seconds`, evenly, whether answered or not."""
    loop = asyncio.get_running_loop()
    waits: list[float] = []

    async def one() -> None:
        began = time.perf_counter()
        await send(body)
        waits.append(time.perf_counter() - began)

    batches = round(rate * seconds / spans)
    waiting = []
    zero = loop.time()
    for index in range(batches):
        await asyncio.sleep(max(0.0, zero + index * spans / rate - loop.time()))
        waiting.append(asyncio.create_task(one()))
    await asyncio.gather(*waiting)
    return Held(batches * spans, max(waits))


async def compare_costs(recorder: Recorder, ways: Ways, per_batch: int) -> int:
    """Print what a span costs each way, as CPU and against the first; the spans sent."""
    sent, first = 0, 0.0
    for name, (send, bodies) in ways.items():
        spans = len(bodies) * per_batch
        microseconds = await cost(recorder, send, bodies, spans)
        first = first or microseconds
        print(f"{name:<24}{microseconds:8.2f} us of CPU a span{microseconds / first:8.1f} x")
        sent += spans
    return sent


async def hold_rates(recorder: Recorder, ways: Ways, per_batch: int, given: Given) -> int:
    """Print how each way stands a held rate; the spans sent."""
    process = psutil.Process(recorder.process.pid)
    sent = 0
    for name in ("HTTP, protobuf", "gRPC"):
        send, bodies = ways[name]
        before = sum(process.cpu_times()[:2])
        held = await hold(send, bodies[0], per_batch, given.rate, given.seconds)
        used = sum(process.cpu_times()[:2]) - before
        sent += held.spans
        print(
            f"{name}: {held.spans} spans at {given.rate:.0f}/s, slowest answer "
            f"{held.worst_s * 1e3:.1f} ms, {used / given.seconds:.1%} of a core"
        )
    return sent


async def measure(given: Given) -> int:
    """Run it all against one recorder and count what its file holds."""
    batches = [batch_of_traces(range(i * 50, i * 50 + 50)) for i in range(8)]
    per_batch = 50 * len(STAGES)
    repeats = max(1, given.traces // (50 * len(batches)))
    async with (
        Workspace() as workspace,
        Recorder(workspace) as recorder,
        aiohttp.ClientSession() as session,
        grpc.aio.insecure_channel(recorder.grpc_endpoint.removeprefix("http://")) as channel,
    ):
        ways = ways_to_send(session, channel, recorder, batches, repeats)
        print(f"{per_batch} spans a batch, {len(batches[0]) / per_batch:.0f} bytes a span")
        sent = await compare_costs(recorder, ways, per_batch)
        sent += await hold_rates(recorder, ways, per_batch, given)
        counted = (await recorder.stats())["spans"]
        await recorder.stop()
        found = sum(spans_in(batch) for batch in read_recording(recorder.path.read_bytes()))
    print(f"sent {sent}, counted {counted}, found in the file {found}: lost {sent - found}")
    return 0 if sent == found == counted else 1


def ways_to_send(
    session: aiohttp.ClientSession,
    channel: grpc.aio.Channel,
    recorder: Recorder,
    batches: Sequence[bytes],
    repeats: int,
) -> Ways:
    """Each transport with the bodies it sends; JSON once over, it is a hundred times dearer."""
    url, protobuf = recorder.endpoint, {"Content-Type": "application/x-protobuf"}
    call = channel.unary_unary(GRPC_METHOD)

    async def by_grpc(body: bytes) -> None:
        await call(body)

    zipped = [gzip.compress(batch, 1) for batch in batches]
    as_json = [json_of_traces(range(i * 50, i * 50 + 50)) for i in range(len(batches))]
    return {
        "HTTP, protobuf": (poster(session, url, protobuf), [*batches] * repeats),
        "HTTP, protobuf, gzip": (
            poster(session, url, {**protobuf, "Content-Encoding": "gzip"}),
            zipped * repeats,
        ),
        "gRPC": (by_grpc, [*batches] * repeats),
        "HTTP, JSON": (poster(session, url, {"Content-Type": "application/json"}), as_json),
    }


def main(argv: Sequence[str]) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="benchmarks recorder", description=__doc__)
    parser.add_argument(
        "--traces", type=int, default=40_000, help="traces a transport, 10 spans each"
    )
    parser.add_argument(
        "--rate", type=float, default=3_000.0, help="spans a second of the held rate"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="how long the rate is held")
    given = parser.parse_args(argv)
    return uvloop.run(measure(Given(given.traces, given.rate, given.seconds)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
