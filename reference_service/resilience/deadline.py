"""A deadline that counts only the server's own slowness as its failure.

When the machine was held up, a plain timeout fires before the reply that lies ready in the socket
is read, or before the server had its turn, and a healthy server is taken for hung. So the time is
up only when the timer itself came in time; a late one gives as long as it was late once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

GRACE_SECONDS: Final = 0.005
"""One round of a busy event loop."""
_GRACES: Final = 4
"""A process that is late again and again cannot tell a hung server from a healthy one."""


@asynccontextmanager
async def deadline(seconds: float) -> AsyncIterator[None]:
    """Cancel the body after so many seconds and a grace; raises TimeoutError."""
    loop = asyncio.get_running_loop()

    def look(due: float, graces: int) -> None:
        now = loop.time()
        late = now - due
        if graces == _GRACES or (graces and late > GRACE_SECONDS):
            due = now + max(GRACE_SECONDS, min(late, seconds))
            looking[0] = loop.call_at(due, look, due, graces - 1)
        else:
            timeout.reschedule(now)

    due = loop.time() + seconds
    async with asyncio.timeout(None) as timeout:
        looking = [loop.call_at(due, look, due, _GRACES)]
        try:
            yield
        finally:
            looking[0].cancel()
