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


def blocks_of_a_queue(
    rng: np.random.Generator,
    blocks: int,
    rate_per_s: float,
    utilisation: float,
    *,
    seconds: float = 5.0,
    bursts: bool = False,
    empty: bool = False,
    cold_s: float = 0.0,
) -> list[tuple[Floats, Floats]]:
    """Sends and response times, in s, of each block of one server and 3.7 s of a model.

    Service times are log-normal. In steady state where there is one, reached before each block;
    ``empty``: each block begins idle; of the first one's requests ``cold_s`` more is asked for,
    less and less. In ``bursts`` the rate changes at each half second (gamma, shape 2).
    """
    settle = (
        0.0 if empty or utilisation >= 1.0 else min(100.0 / rate_per_s / (1 - utilisation), 60)
    )
    settle = math.ceil(4 * settle)
    found = []
    for block in range(blocks):
        halves = round(2 * (settle + seconds))
        weight = rng.gamma(2.0, 0.5, halves) if bursts else np.ones(halves)
        count = rng.poisson(rate_per_s * (settle + seconds))
        place = rng.choice(halves, count, p=weight / weight.sum())
        sent = np.sort((place + rng.random(count)) / 2.0)
        service = utilisation / rate_per_s * rng.lognormal(-0.125, 0.5, count)
        walk = np.concatenate([[0.0], np.cumsum(service[:-1] - np.diff(sent))])
        took = walk - np.minimum.accumulate(walk) + service
        kept = sent >= settle
        sent, took = (
            sent[kept] - settle,
            took[kept] + 3.7 * rng.lognormal(-0.016, 0.18, kept.sum()),
        )
        found.append((sent, took + (cold_s * np.exp(-sent) if block == 0 else 0.0)))
    return found
