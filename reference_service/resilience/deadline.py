"""A deadline that counts only the server's own slowness as its failure.

When the process itself was held up, the timer fires before the reply that lies ready in the socket
is read, and a healthy server is counted as hung. So a deadline that is over gets a short grace in
which the event loop reads what is there: as long as the timer itself was late, and more as long as
the reply is known to be there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Final, Self

GRACE_SECONDS: Final = 0.005
"""One round of a busy event loop."""


GRACES: Final = 200
"""A reply that is there and still unread after a second has another reason."""


class Deadline:
    """Cancels its body after so many seconds and a grace, and raises TimeoutError.

    `arrived` tells whether the reply is there, only not yet read.
    """

    __slots__ = (
        "_arrived", "_cancelling", "_due", "_expired", "_graces", "_left", "_seconds", "_task",
        "_timer",
    )  # fmt: skip

    def __init__(self, seconds: float, arrived: Callable[[], bool] = lambda: False) -> None:
        self._arrived = arrived
        self._graces = 0
        self._seconds = seconds
        self._due = 0.0
        self._expired = False
        self._left = False
        self._cancelling = 0
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        self._cancelling = 0 if self._task is None else self._task.cancelling()
        self._due = monotonic() + self._seconds
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._grace)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._left = True
        if self._timer is not None:
            self._timer.cancel()
        # As in asyncio.timeout: the cancellation was ours only if nobody else asked for one too.
        if not self._expired or self._task is None:
            return
        ours = self._task.uncancel() <= self._cancelling
        if ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error

    def _grace(self) -> None:
        late = min(monotonic() - self._due, self._seconds)
        grace = max(GRACE_SECONDS, late)
        self._timer = asyncio.get_running_loop().call_later(grace, self._last_rounds)

    def _last_rounds(self) -> None:
        # A reply read in this round wakes its reader in the next one.
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._expire)

    def _expire(self) -> None:
        if self._left:
            return
        self._graces += 1
        if self._graces <= GRACES and self._arrived():
            self._due = monotonic()
            self._grace()
            return
        self._expired = True
        if self._task is not None:
            self._task.cancel()
