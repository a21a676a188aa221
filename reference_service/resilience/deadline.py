"""A deadline that counts only the server's own slowness as its failure.

When the machine was held up, a plain timeout fires before the reply that lies ready in the socket
is read, or before the server had its turn, and a healthy server is taken for hung. And each step
of a call, such as its turn after the reply was read, takes a round of the event loop, which a busy
process takes long for. So the time is counted in parts, and a part that ended late does not count:
then it was this process that was slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_PARTS: Final = 8
_LATE_SECONDS: Final = 0.005
"""One round of a busy event loop."""
_LATE_PARTS: Final = 20
"""A process that is late again and again cannot tell a hung server from a healthy one."""


@asynccontextmanager
async def deadline(seconds: float) -> AsyncIterator[None]:
    """Cancel the body after so many seconds of a process that is in time; raises TimeoutError."""
    loop = asyncio.get_running_loop()
    parts, late_parts = _PARTS, _LATE_PARTS
    counting: asyncio.TimerHandle

    def count(due: float) -> None:
        nonlocal parts, late_parts, counting
        now = loop.time()
        if now - due > _LATE_SECONDS and late_parts:
            late_parts -= 1
        else:
            parts -= 1
        if parts:
            counting = loop.call_at(now + seconds / _PARTS, count, now + seconds / _PARTS)
        else:
            timeout.reschedule(now)

    async with asyncio.timeout(None) as timeout:
        first = loop.time() + seconds / _PARTS
        counting = loop.call_at(first, count, first)
        try:
            yield
        finally:
            counting.cancel()
