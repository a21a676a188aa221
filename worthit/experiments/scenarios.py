"""Which scenarios are there, and which knobs do they have?

Written again here because worthit never imports Locust: a misspelt knob, or a value that will
not do, is told before anything is started. A test holds the lists against the scenarios.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Final, TypeAlias

from pydantic_core import PydanticCustomError

Setting: TypeAlias = str | int | float | bool
"""A value of a scenario's knob."""

SCENARIOS: Final = frozenset(
    {
        "abuse",
        "burst",
        "chat",
        "cold_start",
        "mixed_read_write",
        "personality_lookup",
        "repeated_questions",
    }
)
"""User classes of the package `loadtests`, each in a module of its name."""

COUNT, FRACTION, NUMBER = "whole number from 1", "fraction from 0 to 1", "number from 0"

KNOBS: Final = {
    "abuse_fraction": FRACTION,
    "askers": COUNT,
    "cold_fraction": FRACTION,
    "conversations": COUNT,
    "names": COUNT,
    "new_question_fraction": FRACTION,
    "order": "never-seen-first or uniform",
    "people": COUNT,
    "personalities": COUNT,
    "popular": COUNT,
    "questions_each": COUNT,
    "same_personality_fraction": FRACTION,
    "turns": COUNT,
    "write_fraction": FRACTION,
    "zipf_exponent": NUMBER,
}
"""What each knob takes."""


def check_scenario(name: str) -> str:
    """Give the name back if there is such a scenario."""
    if name not in SCENARIOS:
        raise PydanticCustomError(
            "unknown_scenario",
            "there is no scenario {name}",
            {"name": name, "known": sorted(SCENARIOS)},
        )
    return name


def check_knobs(knobs: Mapping[str, Setting]) -> None:
    """Refuse a knob that no scenario has, and a value that its scenario would refuse."""
    for name, value in knobs.items():
        if name not in KNOBS:
            raise PydanticCustomError(
                "unknown_knob",
                "no scenario has a knob {key}",
                {"key": name, "known": sorted(KNOBS)},
            )
        if not _will_do(KNOBS[name], value):
            raise PydanticCustomError(
                "knob_value",
                "the knob {key} is {value}; {wanted} was expected",
                {"key": name, "value": repr(value), "wanted": KNOBS[name]},
            )


def _will_do(wanted: str, value: Setting) -> bool:
    if wanted not in {COUNT, FRACTION, NUMBER}:
        return str(value) in wanted.split(" or ")
    number = _number(value)
    if wanted == COUNT:
        return number >= 1 and number.is_integer()
    return 0.0 <= number <= (1.0 if wanted == FRACTION else sys.float_info.max)


def _number(value: Setting) -> float:
    """Give a number, also one in quotes; nan for all else."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except ValueError:
        return math.nan
