"""Conversations: people with memories write to personalities, a few of which are popular.

Arrivals take turns in many conversations at once: a conversation is one user and one topic, and
its turns lie apart as people's do. With probability ``--cold-fraction`` an arrival asks for a
personality that nobody asked for before.
"""

from __future__ import annotations

from locust.argument_parser import LocustArgumentParser
from typing_extensions import override

from worthit.load import Arrival, OpenLoopUser, whole_number_from_1
from worthit.load.chat_population import (
    add_population_knobs,
    message_number,
    personality_of,
    user_name,
)

_MESSAGES = 1_000_000
"""Different messages in conversations: hardly any repeats, as people hardly ever say the same
thing twice."""


class chat(OpenLoopUser):  # noqa: N801 - the class's name is the scenario's name in --list and on the page
    """People in conversations."""

    host = "http://127.0.0.1:8000"
    default_rate = "10"

    @classmethod
    @override
    def add_knobs(cls, parser: LocustArgumentParser) -> None:
        """Add how many conversations go on at once, and how long they are."""
        add_population_knobs(parser)
        parser.add_argument(
            "--conversations",
            type=whole_number_from_1,
            default=200,
            help="Conversations that go on at the same time.",
        )
        parser.add_argument(
            "--turns", type=whole_number_from_1, default=8, help="Messages of a conversation."
        )

    @override
    def arrive(self, arrival: Arrival) -> None:
        """Send the next message of one of the conversations."""
        conversations, turns = int(self.knobs["conversations"]), int(self.knobs["turns"])
        round_number, slot = divmod(arrival.ordinal, conversations)
        conversation = round_number // turns * conversations + slot
        people = int(self.knobs["people"])
        user = arrival.shared_integer("user", key=conversation, count=people)
        self.client.post(
            "/chat",
            json={
                "message": message_number(arrival.integer("message", _MESSAGES)),
                "personality_name": personality_of(arrival, self.knobs),
            },
            headers={"X-User-Id": user_name(user)},
        )
