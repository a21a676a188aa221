"""How many chats may be under way in one process: who comes beyond is told so at once.

A chat waits seconds for the model and needs PostgreSQL afterwards. Without a limit an overloaded
service lets everybody in, pays for the model, and then fails them at the last step.
See docs/decisions/overload-is-refused-early.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from reference_service.errors import OverloadedError
from reference_service.telemetry.metrics import Labels, Registry


class Door:
    """A bounded number of places and no queue; a context manager holds one of them."""

    def __init__(self, places: int, registry: Registry) -> None:
        self._places = places
        self._taken = 0
        self._shed = registry.counter("chat.shed", "{chat}", "Chats refused at the door.")

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
