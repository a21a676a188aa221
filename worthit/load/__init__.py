"""The load: an open loop inside Locust, the recording of requests, the live page.

What a locustfile needs is imported from here:

    from worthit.load import Arrival, OpenLoopUser
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worthit.contract.scenario_arguments import (
    SCENARIOS,
    Argument,
    fraction_from_0_to_1,
    number_from_0,
    whole_number_from_1,
)
from worthit.load.schedule.arrival import Arrival
from worthit.load.streamed_chat import stream_chat

if TYPE_CHECKING:
    from worthit.load.open_loop import OpenLoopUser

__all__ = [
    "SCENARIOS",
    "Argument",
    "Arrival",
    "OpenLoopUser",
    "fraction_from_0_to_1",
    "number_from_0",
    "stream_chat",
    "whole_number_from_1",
]


def __getattr__(name: str) -> type[OpenLoopUser]:
    """Import the user class when it is asked for: it imports Locust, which patches sockets."""
    if name != "OpenLoopUser":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from worthit.load.open_loop import OpenLoopUser  # noqa: PLC0415 - as the docstring says

    return OpenLoopUser
