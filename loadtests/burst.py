"""A low rate, ten times that, and the low rate again: shows whether the service recovers.

The steps come from ``--arrival-rate`` (default 10, then 100, then 10 again), each for
``--duration``; every request is the first message of a conversation, many to one personality.
"""

from __future__ import annotations

from typing_extensions import override

from worthit.contract.scenario_arguments import SCENARIOS
from worthit.load import Arrival, OpenLoopUser
from worthit.load.chat_population import (
    message_number,
    personality_of,
    user_name,
)


class burst(OpenLoopUser):  # noqa: N801 - the scenario's name in --list and on the page
    """A sudden burst of first messages."""

    host = "http://127.0.0.1:8000"
    default_rate = "10,100,10"
    arguments = SCENARIOS["burst"]

    @override
    def arrive(self, arrival: Arrival) -> None:
        """Send a first message, to the one personality or to another."""
        same = arrival.uniform("same") < float(self.knobs["same_personality_fraction"])
        personality = (
            personality_of(arrival, {**self.knobs, "popular": 1, "cold_fraction": 0.0})
            if same
            else personality_of(arrival, self.knobs)
        )
        self.client.post(
            "/chat",
            json={
                "message": message_number(arrival.integer("message", 10_000)),
                "personality_name": personality,
            },
            headers={"X-User-Id": user_name(arrival.integer("user", int(self.knobs["people"])))},
        )
