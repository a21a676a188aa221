"""How long does a simulated call take? The same for the same seed and draw, whatever the arm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

MASK_64 = (1 << 64) - 1
"""Arithmetic of the hash is modulo 2^64."""

Z_95 = NormalDist().inv_cdf(0.95)
"""The standard normal's 95th percentile; its 5th is the negative."""

STANDARD_NORMAL = NormalDist()
"""Turns a uniform number into a normal one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogNormal:
    """A log-normal duration, named by its 5th and 95th percentiles."""

    low_s: float
    high_s: float

    def at(self, uniform: float) -> int:
        """The duration in ns below which the fraction `uniform` of all draws lies."""
        middle = (math.log(self.low_s) + math.log(self.high_s)) / 2
        sigma = (math.log(self.high_s) - math.log(self.low_s)) / (2 * Z_95)
        return round(math.exp(middle + sigma * STANDARD_NORMAL.inv_cdf(uniform)) * 1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What each kind of call takes; None is as fast as the simulator can."""

    chat: LogNormal | None
    embeddings: LogNormal | None


PROFILES = {
    "seed": Profile(chat=LogNormal(low_s=2.0, high_s=4.0), embeddings=None),
    "native": Profile(chat=None, embeddings=None),
}
"""`seed` gives the LLM the 2-4 s of the write-up. The time of an embedding is part of the memory
stage's 200-500 ms, which the service tops up to; the simulator adds nothing to it."""


def mix(*words: int) -> int:
    """A 64-bit hash of integers: splitmix64's finaliser over each, so that neighbours differ.

    Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014, figure 16.
    """
    state = 0
    for word in words:
        state = (state + word + 0x9E3779B97F4A7C15) & MASK_64
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK_64
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK_64
        state ^= state >> 31
    return state


def uniform(*words: int) -> float:
    """A number strictly between 0 and 1 that follows from the integers."""
    return ((mix(*words) >> 11) + 0.5) / (1 << 53)
