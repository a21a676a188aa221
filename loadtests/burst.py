"""A low rate, ten times that, and the low rate again: shows whether the service recovers.

The steps come from ``--arrival-rate`` (default 10, then 100, then 10 again), each for
``--duration``; every request is the first message of a conversation, many to one personality.
"""

from __future__ import annotations

from locust.argument_parser import LocustArgumentParser
from typing_extensions import override

from worthit.load import Arrival, OpenLoopUser, fraction_from_0_to_1
from worthit.load.chat_population import (
    add_population_knobs,
    message_number,
    personality_of,
    user_name,
)


class burst(OpenLoopUser):  # noqa: N801 - the scenario's name in --list and on the page
    """A sudden burst of first messages."""

    host = "http://127.0.0.1:8000"
    default_rate = "10,100,10"

    @classmethod
    @override
    def add_knobs(cls, parser: LocustArgumentParser) -> None:
        """Add the population's knobs and how many arrivals ask for the same personality."""
        add_population_knobs(parser)
        parser.add_argument(
            "--same-personality-fraction",
            type=fraction_from_0_to_1,
            default=0.5,
            help="Part of the arrivals that want the same one personality: a stampede.",
        )

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
