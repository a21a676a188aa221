"""Users, personalities and messages of the reference service, drawn for each arrival."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from worthit.load.schedule.arrival import Arrival

FIRST_PERSONALITY = "elara"
"""The seeded personality that comes before p00000 in every list."""

_OPENINGS = (
    "I keep thinking about",
    "Can you help me with",
    "Tell me more about",
    "What do you remember of",
    "I had a strange day because of",
    "How should I feel about",
    "Let us talk about",
    "I changed my mind about",
)
_SUBJECTS = (
    "my new job",
    "the walk by the river",
    "my sister's wedding",
    "the book you mentioned",
    "learning the violin",
    "the move to another city",
    "sleeping badly",
    "the garden in spring",
    "an old friend's letter",
    "cooking for six people",
    "the exam next week",
    "a dream with a lighthouse",
)


def personalities_wanted(arrivals: int, knobs: Mapping[str, Any]) -> int:
    """Return how many seeded personalities so many different arrivals ask for at most."""
    return int(knobs["popular"]) + math.ceil(arrivals * float(knobs["cold_fraction"]))


def personality_name(number: int) -> str:
    """Return the name of a seeded personality: elara, p00000, p00001, ..."""
    return FIRST_PERSONALITY if number == 0 else f"p{number - 1:05d}"


def user_name(number: int) -> str:
    """Return the name of a seeded user."""
    return f"u{number:05d}"


def personality_of(arrival: Arrival, knobs: Mapping[str, Any]) -> str:
    """Return the personality that the arrival asks for: a never-asked or a popular one."""
    popular = int(knobs["popular"])
    cold = arrival.once("cold", float(knobs["cold_fraction"]))
    if cold is not None:
        return personality_name(popular + cold)
    return personality_name(
        arrival.zipf("personality", count=popular, exponent=float(knobs["zipf_exponent"]))
    )


def message_number(number: int) -> str:
    """Return one of many messages, the same for the same number."""
    kinds = len(_OPENINGS) * len(_SUBJECTS)
    kind = number % kinds
    text = f"{_OPENINGS[kind % len(_OPENINGS)]} {_SUBJECTS[kind // len(_OPENINGS)]}"
    return f"{text} ({number // kinds})" if number >= kinds else text
