"""Limits how many chats are under way in one process; one more is refused at once.

A chat waits seconds for the model and needs PostgreSQL afterwards. Without a limit an overloaded
service accepts every chat, pays for the model, and then fails at the last step.
See docs/decisions/overload-is-refused-early.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from reference_service.errors import OverloadedError
from reference_service.telemetry.metrics import Labels, Registry


class ConcurrencyLimit:
    """Lets in `places` chats at a time and queues none; a context manager holds one place."""

    def __init__(self, places: int, registry: Registry) -> None:
        self._places = places
        self._taken = 0
        self._shed = registry.counter(
            "chat.shed", "{chat}", "Chats refused because too many are under way."
        )

        def taken() -> Iterator[tuple[Labels, float]]:
            yield (), self._taken

        registry.observe(
            "chat.in_flight", "{chat}", "Chats under way.", taken, kind="updowncounter"
        )

    def __enter__(self) -> Self:
        if self._taken >= self._places:
            self._shed.add()
            raise OverloadedError(f"{self._places} chats are under way")
        self._taken += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._taken -= 1
