"""Names never asked for before, then the same again: shows how fast a cold cache warms up.

Arrival n of the run asks for a new personality until ``--names`` of them have been asked for, one
after the other or (``--order uniform``) as uniform draws among them all, for which the expected
hit rate after n requests is 1 - E[distinct names] / n.
"""

from __future__ import annotations

from typing_extensions import override

from worthit.contract.scenario_arguments import SCENARIOS
from worthit.load import Arrival, OpenLoopUser
from worthit.load.chat_population import personality_name


class cold_start(OpenLoopUser):  # noqa: N801 - the scenario's name in --list and on the page
    """A cache that starts empty."""

    host = "http://127.0.0.1:8000"
    default_rate = "100"
    arguments = SCENARIOS["cold_start"]

    @override
    def arrive(self, arrival: Arrival) -> None:
        """Look up the next name."""
        names = int(self.knobs["names"])
        if self.knobs["order"] == "uniform":
            number = arrival.integer("name", names)
        else:
            number = arrival.ordinal % names
        self.client.get(f"/personalities/{personality_name(number)}", name="/personalities/{name}")
