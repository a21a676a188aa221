"""Personalities are changed while they are looked up: shows what changes cost the cache.

``--write-fraction`` of the arrivals change a personality, drawn as the lookups are: a change of a
popular one makes a cached answer stale, and the service must not give it any more.
"""

from __future__ import annotations

from typing_extensions import override

from worthit.contract.scenario_arguments import SCENARIOS
from worthit.load import Arrival, OpenLoopUser
from worthit.load.chat_population import personality_of

_ARCHETYPES = ("wise_mentor", "playful_friend", "calm_listener", "curious_scholar")


class mixed_read_write(OpenLoopUser):  # noqa: N801 - the scenario's name in --list and on the page
    """Lookups and changes."""

    host = "http://127.0.0.1:8000"
    default_rate = "100"
    arguments = SCENARIOS["mixed_read_write"]

    @override
    def arrive(self, arrival: Arrival) -> None:
        """Look a personality up, or change it."""
        path = f"/personalities/{personality_of(arrival, self.knobs)}"
        if arrival.uniform("write") >= float(self.knobs["write_fraction"]):
            self.client.get(path, name="/personalities/{name}")
            return
        archetype = _ARCHETYPES[arrival.integer("archetype", len(_ARCHETYPES))]
        warmth = round(arrival.uniform("warmth"), 3)
        self.client.put(
            path,
            json={
                "archetype": archetype,
                "system_prompt": f"You are a {archetype.replace('_', ' ')}, warm to {warmth}.",
                "traits": {"warmth": warmth},
            },
            name="/personalities/{name}",
        )
