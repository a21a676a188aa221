"""An HTTP server that answers every request at once: what is left of its times is the load's own.

Run as a process of its own, by path and importing next to nothing, so that it is there in a
moment. It prints its port, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import cast

from typing_extensions import override

_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
_HEAD_END = b"\r\n\r\n"


class _Connection(asyncio.Protocol):
    """Answers as many requests as have come; none of them has a body."""

    def __init__(self) -> None:
        self._rest = b""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(_HEAD_END)
        self._transport.write(_ANSWER * len(whole))


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


def _leave_the_loads_cores() -> None:
    """Run beside a load that is bound to some cores where others are free, as a service does."""
    with contextlib.suppress(AttributeError, OSError):
        others = set(range(os.cpu_count() or 1)) - os.sched_getaffinity(0)
        if others:
            os.sched_setaffinity(0, others)


if __name__ == "__main__":
    _leave_the_loads_cores()
    asyncio.run(_serve())
