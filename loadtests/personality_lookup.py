"""The cached operation alone, without LLM and memories: cheap enough for 1000 per second.

The personality is drawn as in ``chat``.
"""

from __future__ import annotations

from typing_extensions import override

from worthit.contract.scenario_arguments import SCENARIOS
from worthit.load import Arrival, OpenLoopUser
from worthit.load.chat_population import personality_of


class personality_lookup(OpenLoopUser):  # noqa: N801 - the class's name is the scenario's name in --list and on the page
    """The lookup alone."""

    host = "http://127.0.0.1:8000"
    default_rate = "100"
    arguments = SCENARIOS["personality_lookup"]

    @override
    def arrive(self, arrival: Arrival) -> None:
        """Look one personality up."""
        self.client.get(
            f"/personalities/{personality_of(arrival, self.knobs)}", name="/personalities/{name}"
        )
