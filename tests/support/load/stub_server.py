"""A small HTTP server that answers after a set time and counts the requests it received.

Run as a process of its own: ``python tests/support/load/stub_server.py --port 0 --latency-ms
10``. It prints its port on the first line. ``GET /__seen`` gives what it counted; SIGSTOP
freezes it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import cast

_MOST_KEPT = 5000


@dataclass(slots=True)
class Seen:
    """What the server saw."""

    requests: int = 0
    paths: Counter[str] = field(default_factory=Counter)
    draws: list[str] = field(default_factory=list)
    """``arm:draw`` of each request, in order of arrival."""
    answered: list[tuple[int, int]] = field(default_factory=list)
    """Draw and time, in ns since the epoch, of each answer."""
    in_flight: int = 0
    in_flight_max: int = 0
    without_traceparent: int = 0
    last: dict[str, str] = field(default_factory=dict)
    received: list[tuple[str, str, str, str]] = field(default_factory=list)
    """Method, path, traceparent and baggage of the first 5,000 requests."""


class Connection(asyncio.Protocol):
    """One connection; requests on it are answered in order."""

    def __init__(self, seen: Seen, latency_seconds: float, status: int) -> None:
        self._seen = seen
        self._latency_seconds = latency_seconds
        self._status = status
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take whole requests out of what has arrived."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head[1:])
            }
            length = int(headers.get("content-length", "0"))
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            method, path, _ = head[0].split(" ")
            self._answer(method, path, headers, body)

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        seen = self._seen
        if path == "/__seen":
            self._reply(
                200, json.dumps({name: getattr(seen, name) for name in Seen.__slots__}).encode()
            )
            return
        seen.requests += 1
        seen.paths[f"{method} {path}"] += 1
        seen.in_flight += 1
        seen.in_flight_max = max(seen.in_flight_max, seen.in_flight)
        if "traceparent" not in headers:
            seen.without_traceparent += 1
        baggage = headers.get("baggage", "")
        if "worthit.draw=" in baggage:
            arm = baggage.partition("worthit.arm=")[2].partition(",")[0]
            draw = baggage.rpartition("=")[2]
            seen.draws.append(f"{arm}:{draw}")
        else:
            draw = "-1"
        seen.last = {**headers, "body": body.decode("utf-8", "replace")}
        if len(seen.received) < _MOST_KEPT:
            trace = (headers.get("traceparent", ""), baggage)
            seen.received.append((method, path, *trace))
        if path.startswith("/stream"):
            self._stream()
            seen.in_flight -= 1
            return
        if path.startswith("/redirect"):
            seen.in_flight -= 1
            self._reply(302, b"", "location: /there")
            return
        if self._latency_seconds:
            asyncio.get_running_loop().call_later(self._latency_seconds, self._finish, int(draw))
        else:
            self._finish(int(draw))

    def _finish(self, draw: int) -> None:
        self._seen.in_flight -= 1
        self._seen.answered.append((draw, time.time_ns()))
        self._reply(self._status, b'{"ok": true}')

    def _stream(self) -> None:
        """Send the head at once, then three server-sent events, the first after 0.1 s."""
        if self._transport is None:
            return
        head = ("HTTP/1.1 200 X", "content-type: text/event-stream", "transfer-encoding: chunked")
        self._transport.write("\r\n".join((*head, "", "")).encode())
        loop = asyncio.get_running_loop()
        for number, data in enumerate((*(b"b\r\ndata: tok\n\n\r\n",) * 3, b"0\r\n\r\n"), start=1):
            loop.call_later(0.1 * min(number, 3), self._transport.write, data)

    def _reply(self, status: int, body: bytes, *more: str) -> None:
        if self._transport is not None and not self._transport.is_closing():
            head = (
                f"HTTP/1.1 {status} X",
                *more,
                "content-type: application/json",
                f"content-length: {len(body)}",
            )
            self._transport.write("\r\n".join((*head, "", "")).encode() + body)


async def serve(port: int, latency_seconds: float, status: int) -> None:
    """Serve on 127.0.0.1 until killed."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    seen = Seen()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(seen, latency_seconds, status), "127.0.0.1", port, backlog=16384
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--status", type=int, default=200)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.latency_ms / 1000.0, arguments.status))


if __name__ == "__main__":
    main()
