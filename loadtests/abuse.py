"""One user sends far more than the others: shows what the rate limiter stops.

A refused request (429) of that user counts as a success, one of anybody else as a failure. The two
have different request names, so that Locust shows them apart.
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

_ABUSER = 0
"""The number of the user who hammers; everybody else has a number from 1 up."""
_TOO_MANY_REQUESTS = 429


class abuse(OpenLoopUser):  # noqa: N801 - the scenario's name in --list and on the page
    """One user against the others."""

    host = "http://127.0.0.1:8000"
    default_rate = "20"
    arguments = SCENARIOS["abuse"]

    @override
    def arrive(self, arrival: Arrival) -> None:
        """Send a message as the abuser or as one of the others."""
        abusive = arrival.uniform("abuse") < float(self.knobs["abuse_fraction"])
        people = max(int(self.knobs["people"]) - 1, 1)
        user = _ABUSER if abusive else 1 + arrival.integer("user", people)
        with self.client.post(
            "/chat",
            json={
                "message": message_number(arrival.integer("message", 10_000)),
                "personality_name": personality_of(arrival, self.knobs),
            },
            headers={"X-User-Id": user_name(user)},
            name="/chat (abuser)" if abusive else "/chat",
            catch_response=True,
        ) as response:
            if abusive and response.status_code == _TOO_MANY_REQUESTS:
                response.success()
