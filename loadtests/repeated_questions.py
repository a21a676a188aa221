"""People who ask the same few questions again: shows whether a memory-search cache pays.

Each person has ``--questions-each`` questions of their own and asks them by Zipf's law, so that a
cache of memory searches can hit; ``--new-question-fraction`` of the questions are
never asked twice.
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

_FIRST_NEW_QUESTION = 10_000_000
"""Questions from here on are asked once; below are those that people repeat."""


class repeated_questions(OpenLoopUser):  # noqa: N801 - the scenario's name in --list and on the page
    """People who repeat themselves."""

    host = "http://127.0.0.1:8000"
    default_rate = "10"
    arguments = SCENARIOS["repeated_questions"]

    @override
    def arrive(self, arrival: Arrival) -> None:
        """Ask one of the person's own questions, or a new one."""
        asker = arrival.integer("asker", int(self.knobs["askers"]))
        each = int(self.knobs["questions_each"])
        new = arrival.once("new question", float(self.knobs["new_question_fraction"]))
        question = (
            asker * each + arrival.zipf("question", count=each, exponent=1.0)
            if new is None
            else _FIRST_NEW_QUESTION + new
        )
        self.client.post(
            "/chat",
            json={
                "message": message_number(question),
                "personality_name": personality_of(arrival, self.knobs),
            },
            headers={"X-User-Id": user_name(asker)},
        )
