"""One arrival: when it is due, in which block, and everything random about it."""

from __future__ import annotations

from worthit.contract.plan import Block
from worthit.load.schedule import draws


class Arrival:
    """One arrival; a scenario's ``arrive`` gets it and makes its request from it."""

    __slots__ = ("block", "draw", "intended_ns", "ordinal", "scenario", "seed", "used")

    def __init__(
        self, *, block: Block, draw: int, ordinal: int, seed: int, intended_ns: int, scenario: str
    ) -> None:
        self.block = block
        self.draw = draw
        """The same in every arm of a pair."""
        self.ordinal = ordinal
        """Counts different draws through the plan: equal in the arms of a pair, never used twice
        within one arm."""
        self.seed = seed
        self.intended_ns = intended_ns
        self.scenario = scenario
        self.used = False
        """Whether its request has been sent."""

    def uniform(self, what: str) -> float:
        """Return a number in [0, 1) for this purpose, the same in every arm of a pair."""
        return draws.uniform(self.seed, self.draw, what)

    def integer(self, what: str, count: int) -> int:
        """Return a whole number 0..count-1 for this purpose, each equally likely."""
        return int(draws.uniform(self.seed, self.draw, what) * count)

    def zipf(self, what: str, *, count: int, exponent: float) -> int:
        """Return a rank 0..count-1 for this purpose, low ranks more likely (Zipf's law)."""
        return draws.zipf_rank(self.uniform(what), count=count, exponent=exponent)

    def once(self, what: str, fraction: float) -> int | None:
        """Return None, or, for this fraction of all arrivals, a number no other of the arm gets.

        The numbers are 0, 1, 2, ... without gaps.
        """
        return draws.stratum_of(self.seed, self.ordinal, fraction, what)
