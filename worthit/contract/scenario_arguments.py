"""The scenarios that come along, and the arguments of each: name, what it takes, default, help.

Locust's parser gets them from here, and experiment files are checked against them before anything
is started. A scenario in a user's own file declares its arguments in the same way:

    class Shop(OpenLoopUser):
        arguments = (
            Argument(name="basket", takes=whole_number_from_1, default=3, help="Things bought."),
        )
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

Value: TypeAlias = str | int | float | bool
"""What an argument can be set to."""


def whole_number_from_1(value: str | float) -> int:
    """Return a count of something there must be one of."""
    number = int(value)
    if number < 1 or float(value) != number:
        raise ValueError(value)
    return number


def fraction_from_0_to_1(value: str | float) -> float:
    """Return a part of all."""
    number = float(value)
    if not 0.0 <= number <= 1.0:
        raise ValueError(value)
    return number


def number_from_0(value: str | float) -> float:
    """Return a finite number that is not negative."""
    number = float(value)
    if not 0.0 <= number < math.inf:
        raise ValueError(value)
    return number


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument of a scenario: ``cold_fraction`` is ``--cold-fraction`` on the command line."""

    name: str
    takes: Callable[[str], Value] = str
    """Turns text or a number into the value, and refuses with ValueError what no run can be made
    of. Its name is shown to people, as in "whole number from 1 was expected"."""
    default: Value
    help: str
    choices: tuple[str, ...] = ()
    """The only values, if not empty."""

    @property
    def flag(self) -> str:
        """Give the argument as it is written on a command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def wanted(self) -> str:
        """Say what the argument takes, for a person."""
        return " or ".join(self.choices) or self.takes.__name__.replace("_", " ")

    def accepts(self, value: Value) -> bool:
        """Whether a scenario can be run with this value; numbers may be in quotes."""
        if self.choices:
            return str(value) in self.choices
        if isinstance(value, bool):
            return False
        try:
            self.takes(value)  # type: ignore[arg-type] # what takes text takes a number as well
        except (ValueError, OverflowError):
            return False
        return True


_POPULATION = (
    Argument(
        name="popular",
        takes=whole_number_from_1,
        default=50,
        help="Personalities that most arrivals ask for, by Zipf's law.",
    ),
    Argument(
        name="zipf_exponent",
        takes=number_from_0,
        default=1.0,
        help="How much more the first is asked for than the last.",
    ),
    Argument(
        name="cold_fraction",
        takes=fraction_from_0_to_1,
        default=0.05,
        help="Part of the arrivals that ask for a personality nobody asked for before: the "
        "hit rate is 1 minus this.",
    ),
    Argument(
        name="personalities",
        takes=whole_number_from_1,
        default=100_000,
        help="Seeded personalities; a schedule that asks for more is told of.",
    ),
    Argument(
        name="people", takes=whole_number_from_1, default=1000, help="Seeded users who chat."
    ),
)

SCENARIOS: Final[Mapping[str, tuple[Argument, ...]]] = {
    "abuse": (
        *_POPULATION,
        Argument(
            name="abuse_fraction",
            takes=fraction_from_0_to_1,
            default=0.5,
            help="Part of all arrivals that come from the one abuser.",
        ),
    ),
    "burst": (
        *_POPULATION,
        Argument(
            name="same_personality_fraction",
            takes=fraction_from_0_to_1,
            default=0.5,
            help="Part of the arrivals that want the same one personality: a stampede.",
        ),
    ),
    "chat": (
        *_POPULATION,
        Argument(
            name="conversations",
            takes=whole_number_from_1,
            default=200,
            help="Conversations that go on at the same time.",
        ),
        Argument(
            name="turns",
            takes=whole_number_from_1,
            default=8,
            help="Messages of a conversation.",
        ),
    ),
    "cold_start": (
        Argument(
            name="names",
            takes=whole_number_from_1,
            default=1000,
            help="Different names to warm up to.",
        ),
        Argument(
            name="order",
            default="never-seen-first",
            choices=("never-seen-first", "uniform"),
            help="never-seen-first: each name once, then all again; uniform: at random.",
        ),
    ),
    "mixed_read_write": (
        *_POPULATION,
        Argument(
            name="write_fraction",
            takes=fraction_from_0_to_1,
            default=0.02,
            help="Part of the arrivals that change a personality.",
        ),
    ),
    "personality_lookup": _POPULATION,
    "repeated_questions": (
        *_POPULATION,
        Argument(
            name="askers",
            takes=whole_number_from_1,
            default=20,
            help="People who repeat themselves.",
        ),
        Argument(
            name="questions_each",
            takes=whole_number_from_1,
            default=5,
            help="Different questions of each of them.",
        ),
        Argument(
            name="new_question_fraction",
            takes=fraction_from_0_to_1,
            default=0.1,
            help="Part of the questions that nobody asked before: what no cache can answer.",
        ),
    ),
}
"""Arguments by scenario; each is a file of ``loadtests/`` with a user class of its name."""

ARGUMENTS: Final[Mapping[str, Argument]] = {
    argument.name: argument for arguments in SCENARIOS.values() for argument in arguments
}
"""Every argument of any of them, by name."""
