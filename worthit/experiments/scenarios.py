"""Is there such a scenario, and has it such a knob? Told before anything is started."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic_core import PydanticCustomError

from worthit.contract.scenario_arguments import ARGUMENTS, SCENARIOS, Value


def check_scenario(name: str) -> str:
    """Give the name back if there is such a scenario."""
    if name not in SCENARIOS:
        raise PydanticCustomError(
            "unknown_scenario",
            "there is no scenario {name}",
            {"name": name, "known": sorted(SCENARIOS)},
        )
    return name


def check_knobs(knobs: Mapping[str, Value]) -> None:
    """Refuse a knob that no scenario has, and a value that its scenario would refuse."""
    for name, value in knobs.items():
        if name not in ARGUMENTS:
            raise PydanticCustomError(
                "unknown_knob",
                "no scenario has a knob {key}",
                {"key": name, "known": sorted(ARGUMENTS)},
            )
        if not ARGUMENTS[name].accepts(value):
            raise PydanticCustomError(
                "knob_value",
                "the knob {key} is {value}; {wanted} was expected",
                {"key": name, "value": repr(value), "wanted": ARGUMENTS[name].wanted},
            )
