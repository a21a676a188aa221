"""Conversations: people with memories write to personalities, a few of which are popular.

Arrivals take turns in many conversations at once: a conversation is one user and one topic, and
its turns lie apart as people's do. With probability ``--cold-fraction`` an arrival asks for a
personality that nobody asked for before.
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

_MESSAGES = 1_000_000
"""Different messages in conversations: hardly any repeats, as people hardly ever say the same
thing twice."""


class chat(OpenLoopUser):  # noqa: N801 - the class's name is the scenario's name in --list and on the page
    """People in conversations."""

    host = "http://127.0.0.1:8000"
    default_rate = "10"
    arguments = SCENARIOS["chat"]

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
