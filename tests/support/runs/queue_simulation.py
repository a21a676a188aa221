"""Response times of an M/M/1 queue whose quantiles are known, and counts that burst.

Truth of M/M/1, first come first served: the response time in steady state is exponential with rate
mu - lambda, so its q-quantile is -ln(1 - q) / (mu - lambda) (Kleinrock, Queueing Systems I, 1975,
section 5.12).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def mm1_response_times(rng: np.random.Generator, requests: int, utilisation: float) -> Floats:
    """Response times in order of arrival, in mean service times, begun in steady state."""
    service = rng.exponential(1.0, requests)
    gaps = rng.exponential(1.0 / utilisation, requests)
    first = rng.exponential(1.0 / (1.0 - utilisation)) if rng.random() < utilisation else 0.0
    walk = np.concatenate([[first], first + np.cumsum(service[:-1] - gaps[1:])])
    waited = walk - np.minimum(np.minimum.accumulate(walk), 0.0)
    return waited + service


def mm1_quantile(q: float, utilisation: float) -> float:
    """The true q-quantile of the response time, in mean service times."""
    return -math.log(1.0 - q) / (1.0 - utilisation)


def bursting_misses(
    rng: np.random.Generator, blocks: int, requests: int, miss_rate: float, *, burst: float = 3.0
) -> tuple[Floats, Floats]:
    """Misses and requests by block; a gamma of shape ``burst`` moves each block's miss rate."""
    sent = rng.poisson(requests, blocks).astype(np.float64)
    missed = rng.poisson(sent * miss_rate * rng.gamma(burst, 1.0 / burst, blocks))
    return np.minimum(missed, sent).astype(np.float64), sent
