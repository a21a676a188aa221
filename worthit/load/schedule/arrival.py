"""One arrival: when it is due, in which block, and everything random about it.

All that is random is a function of (seed, draw) and of nothing else. A counter-based hash stands
in for a stream of random numbers: any worker can compute any arrival's choices without having seen
the arrivals before it, so equal seeds give equal load with one worker or four, and both arms of a
pair choose alike. The mixer is SplitMix64's finaliser (Steele, Lea, Flood, "Fast splittable
pseudorandom number generators", 2014, figure 15).
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from functools import cache
from itertools import accumulate

from worthit.contract.plan import Block

_MASK_64 = (1 << 64) - 1
GOLDEN_GAMMA = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio: SplitMix64's increment."""
_TWO_TO_MINUS_53 = 2.0**-53
"""Turns the top 53 bits into a float in [0, 1)."""


def mix(z: int) -> int:
    """Return SplitMix64's output for a state."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK_64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK_64
    return z ^ (z >> 31)


@cache
def _stream(seed: int, what: str) -> int:
    """Return one well mixed 64-bit key per seed and purpose."""
    return mix(((seed & _MASK_64) * GOLDEN_GAMMA + zlib.crc32(what.encode())) & _MASK_64)


def bits(seed: int, draw: int, what: str) -> int:
    """Return 64 bits that depend on the seed, the draw and what they are for."""
    return mix((_stream(seed, what) + (draw + 1) * GOLDEN_GAMMA) & _MASK_64)


def uniform(seed: int, draw: int, what: str) -> float:
    """Return a number in [0, 1) that depends on the seed, the draw and what it is for."""
    return (bits(seed, draw, what) >> 11) * _TWO_TO_MINUS_53


@cache
def _zipf_cumulative(count: int, exponent: float) -> tuple[float, ...]:
    weights = [rank**-exponent for rank in range(1, count + 1)]
    total = sum(weights)
    return tuple(accumulate(weight / total for weight in weights))


def zipf_rank(u: float, *, count: int, exponent: float) -> int:
    """Turn a uniform number into a rank 0..count-1, of weight (rank + 1)^-exponent."""
    return min(bisect_right(_zipf_cumulative(count, exponent), u), count - 1)


def stratum_of(seed: int, ordinal: int, fraction: float, what: str) -> int | None:
    """Return the stratum whose one chosen member this ordinal is, or None if it is not chosen.

    Each ordinal is chosen with probability ``fraction``. A stratum is a row of about 1/fraction
    ordinals, of which exactly one is chosen: so the strata's numbers, 0, 1, 2, ..., number the
    chosen ones without gaps, and no worker has to count. With fraction 0.25, ordinals 0-3 are
    stratum 0, 4-7 stratum 1; if the hash of stratum 1 says place 2, then ordinal 6 gets 1 and
    ordinals 4, 5 and 7 get None.
    """
    if fraction <= 0.0:
        return None
    stratum = int(ordinal * fraction)
    first = _first_of(stratum, fraction)
    size = _first_of(stratum + 1, fraction) - first
    if first + int(uniform(seed, stratum, what) * size) != ordinal:
        return None
    return stratum


def _first_of(stratum: int, fraction: float) -> int:
    """Return the smallest ordinal whose ``int(ordinal * fraction)`` is the stratum."""
    guess = max(int(stratum / fraction) - 1, 0)
    while int(guess * fraction) < stratum:
        guess += 1
    return guess


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
        return uniform(self.seed, self.draw, what)

    def integer(self, what: str, count: int) -> int:
        """Return a whole number 0..count-1 for this purpose, each equally likely."""
        return int(uniform(self.seed, self.draw, what) * count)

    def shared_integer(self, what: str, *, key: int, count: int) -> int:
        """Return a whole number 0..count-1, the same for all arrivals that give this key."""
        return bits(self.seed, key, what) % count

    def zipf(self, what: str, *, count: int, exponent: float) -> int:
        """Return a rank 0..count-1 for this purpose, low ranks more likely (Zipf's law)."""
        return zipf_rank(self.uniform(what), count=count, exponent=exponent)

    def once(self, what: str, fraction: float) -> int | None:
        """Return None, or, for this fraction of all arrivals, a number no other of the arm gets.

        The numbers are 0, 1, 2, ... without gaps.
        """
        return stratum_of(self.seed, self.ordinal, fraction, what)
