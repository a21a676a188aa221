"""Limits how many chats are under way in one process; one more is refused at once.

A chat waits seconds for the model and needs PostgreSQL afterwards. Without a limit an overloaded
service accepts every chat, pays for the model, and then fails at the last step.
See docs/decisions/overload-is-refused-early.md.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from opentelemetry.metrics import CallbackOptions, Observation

from reference_service.errors import OverloadedError
from reference_service.telemetry.metrics import Instruments


class ConcurrencyLimit:
    """Lets in `places` chats at a time and queues none; a context manager holds one place."""

    def __init__(self, places: int, instruments: Instruments) -> None:
        self._places = places
        self._taken = 0
        self._shed = instruments.shed
        instruments.meter.create_observable_up_down_counter(
            "chat.in_flight", [self._in_flight], "{chat}", "Chats under way."
        )

    def __enter__(self) -> Self:
        if self._taken >= self._places:
            self._shed.add(1)
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

    def _in_flight(self, _: CallbackOptions) -> list[Observation]:
        return [Observation(self._taken)]
