"""Everything random about an arrival, as a function of (seed, draw) and of nothing else.

A counter-based hash stands in for a stream of random numbers: any worker can compute any arrival's
choices without having seen the arrivals before it, so equal seeds give equal load with one worker
or four, and both arms of a pair choose alike. The mixer is SplitMix64's finaliser (Steele, Lea,
Flood, "Fast splittable pseudorandom number generators", 2014, figure 15).
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from functools import cache
from itertools import accumulate

_MASK_64 = (1 << 64) - 1
_GOLDEN_GAMMA = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio: SplitMix64's increment."""
_TWO_TO_MINUS_53 = 2.0**-53
"""Turns the top 53 bits into a float in [0, 1)."""


def _mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK_64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK_64
    return z ^ (z >> 31)


@cache
def _stream(seed: int, what: str) -> int:
    """Return one well mixed 64-bit key per seed and purpose."""
    return _mix(((seed & _MASK_64) * _GOLDEN_GAMMA + zlib.crc32(what.encode())) & _MASK_64)


def bits(seed: int, draw: int, what: str) -> int:
    """Return 64 bits that depend on the seed, the draw and what they are for."""
    return _mix((_stream(seed, what) + (draw + 1) * _GOLDEN_GAMMA) & _MASK_64)


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

    Each ordinal is chosen with probability ``fraction`` and every run of about 1/fraction ordinals
    holds exactly one chosen one, so strata number the chosen ones without gaps and without anybody
    having counted.
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
