"""What does a call of the LLM simulator cost in CPU, beside the waiting?

It shares its cores with the service under test, so what it takes is taken from the run. Many calls
are kept in flight, as in a run where each lasts three seconds; the simulator's own CPU is read.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

import httptools
import orjson
import psutil
import uvloop

from worthit.environment.simulator import Simulator
from worthit.process.workspace import Workspace

CHAT = orjson.dumps(
    {
        "model": "sim-chat",
        "messages": [
            {"role": "system", "content": "You are elara, a wise mentor. " * 20},
            {"role": "user", "content": "I had a long day and would like to talk about it. " * 2},
        ],
    }
)
EMBEDDINGS = orjson.dumps(
    {"model": "sim-embed", "input": "I had a long day and would like to talk about it " * 2}
)
EMBEDDINGS_BASE64 = orjson.dumps({**orjson.loads(EMBEDDINGS), "encoding_format": "base64"})

KINDS = {
    "chat": (b"/v1/chat/completions", CHAT),
    "embeddings": (b"/v1/embeddings", EMBEDDINGS),
    "embeddings, base64": (b"/v1/embeddings", EMBEDDINGS_BASE64),
}


class Client(asyncio.Protocol):
    """One keep-alive connection that sends its calls one after the other."""

    def __init__(self, path: bytes, body: bytes, draws: range, done: asyncio.Future[None]) -> None:
        self._path, self._body, self._done = path, body, done
        self._draws = iter(draws)
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Read an answer."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Send the next call, or end."""
        if self._parser.get_status_code() != 200:
            self._done.set_exception(RuntimeError(f"status {self._parser.get_status_code()}"))
            return
        self._parser = httptools.HttpResponseParser(self)
        self._send()

    def _send(self) -> None:
        draw = next(self._draws, None)
        if draw is None:
            self._transport.close()
            self._done.set_result(None)
            return
        self._transport.write(  # type: ignore[attr-defined]  # a TCP transport
            b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"traceparent: 00-%032x-%016x-01\r\nbaggage: worthit.run=bench,worthit.draw=%d\r\n"
            b"content-length: %d\r\n\r\n%s"
            % (self._path, draw + 1, draw + 1, draw, len(self._body), self._body)
        )


async def drive(port: int, path: bytes, body: bytes, calls: int, connections: int) -> None:
    """Send `calls` calls over `connections` connections."""
    loop = asyncio.get_running_loop()
    each = calls // connections
    waiting = []
    for index in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        draws = range(index * each, (index + 1) * each)
        await loop.create_connection(
            lambda draws=draws, done=done: Client(path, body, draws, done),  # type: ignore[misc]  # bound early
            "127.0.0.1",
            port,
        )
        waiting.append(done)
    await asyncio.gather(*waiting)


async def measure(calls: int, connections: int) -> int:
    """Print the CPU microseconds a call of each kind, and of 3 s chats with many in flight."""
    async with Workspace() as workspace:
        async with Simulator(workspace, seed=1, profile="native") as simulator:
            port = int(simulator.base_url.split(":")[2].split("/")[0])
            process = psutil.Process(simulator.process.pid)
            for kind, (path, body) in KINDS.items():
                before = process.cpu_times()
                await drive(port, path, body, calls, connections)
                after = process.cpu_times()
                spent = (after.user + after.system - before.user - before.system) / calls
                print(f"{kind:<32}{spent * 1e6:8.0f} us of CPU a call, {calls} calls")
        async with Simulator(workspace, seed=1, profile="seed") as simulator:
            port = int(simulator.base_url.split(":")[2].split("/")[0])
            process = psutil.Process(simulator.process.pid)
            before = process.cpu_times()
            await drive(port, *KINDS["chat"], calls=4_000, connections=2_000)
            after = process.cpu_times()
            spent = (after.user + after.system - before.user - before.system) / 4_000
            await simulator.stop()
            lines = [orjson.loads(line) for line in simulator.log_path.read_bytes().splitlines()]
            over = sorted((line["actual_ns"] - line["planned_ns"]) / 1e6 for line in lines)
    print(f"{'chat of 2-4 s, 2000 in flight':<32}{spent * 1e6:8.0f} us of CPU a call")
    late = (over[len(over) // 2], over[-len(over) // 100], over[-1])
    print(f"{'  late by (p50, p99, max)':<32}" + "".join(f"{ms:8.2f} ms" for ms in late))
    return 0


def main(argv: Sequence[str]) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="benchmarks simulator", description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=200)
    given = parser.parse_args(argv)
    return uvloop.run(measure(given.calls, given.connections))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
