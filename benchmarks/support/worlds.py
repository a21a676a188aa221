"""Six worlds in which two arms are measured, and what is true of them.

Each makes the blocks of two arms in ABBA order on one machine. A request's time is drawn alike in
both arms of a pair, but for 5 % of its own; an operation inside it is drawn by each arm for
itself. What the worlds do to it:

- iid: nothing, log-normal times of sigma 0.3;
- mood: each block has a factor of its own, 0.5 %;
- drift: the machine walks at random, 1 % from block to block;
- bursts: spells of 30 requests take three times as long, a tenth of all, and the misses of a block
  come at a rate of its own (gamma of shape 3);
- sigma 1.5 and Pareto 1.5: log-normal and Pareto times with tails so heavy that a mean hangs on a
  few requests; Pareto's have no variance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MEAN_MS = 100.0
"""Of a request, away from bursts."""

OPERATION_MS = 10.0
"""Of the operation inside it."""

MISS_RATE = 0.05

REQUESTS = 340
"""In a block, as in the demo's."""

_SPELL_REQUESTS, _SPELL_SHARE, _SPELL_TIMES = 30, 0.1, 3.0
_OWN_SIGMA = 0.05
_SAMPLE = 2_000_000
"""Draws that stand for the truth of a percentile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What moves the times and counts."""

    name: str
    mood: float = 0.0
    drift: float = 0.0
    bursts: bool = False
    sigma: float = 0.3
    pareto: float | None = None

    @property
    def slowdown(self) -> float:
        """By how much bursts raise a mean."""
        return 1.0 + _SPELL_SHARE * (_SPELL_TIMES - 1.0) if self.bursts else 1.0

    def times(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        """Independent times with a mean of 1."""
        if self.pareto is not None:
            return np.asarray((rng.pareto(self.pareto, shape) + 1.0) * (1.0 - 1.0 / self.pareto))
        return np.asarray(rng.lognormal(-(self.sigma**2) / 2.0, self.sigma, shape))

    def spells(self, rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
        """Each request's factor of its spell: 1 outside of bursts."""
        if not self.bursts:
            return np.ones(shape)
        slow = np.zeros(shape, np.bool_)
        slow[:, 0] = rng.random(shape[0]) < _SPELL_SHARE
        ends = rng.random(shape) < 1.0 / _SPELL_REQUESTS
        begins = rng.random(shape) < _SPELL_SHARE / (1.0 - _SPELL_SHARE) / _SPELL_REQUESTS
        for place in range(1, shape[1]):
            before = slow[:, place - 1]
            slow[:, place] = np.where(before, ~ends[:, place], begins[:, place])
        return np.where(slow, _SPELL_TIMES, 1.0)

    def met(self, rng: np.random.Generator, pairs: int, rate: float) -> NDArray[np.bool_]:
        """Which requests of each block met an event that comes at ``rate``."""
        own = rate * rng.gamma(3.0, 1.0 / 3.0, (pairs, 1)) if self.bursts else rate
        return rng.random((pairs, REQUESTS)) < own


WORLDS = (
    World(name="iid"),
    World(name="mood", mood=0.005),
    World(name="drift", drift=0.01),
    World(name="bursts", bursts=True),
    World(name="sigma 1.5", sigma=1.5),
    World(name="Pareto 1.5", pareto=1.5),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One arm's blocks: a row a block, a column a request."""

    response_ms: Floats
    """Drawn alike in both arms, but for what is the request's own."""
    operation_ms: Floats
    """Of the operation inside each request, each arm's own draw."""
    machine: Floats
    """By how much the machine was slow, a block each: the truth of what it moves."""
    sent: Floats
    """Requests by block."""

    def operation(self, chosen: NDArray[np.bool_] | None = None) -> tuple[Floats, Floats]:
        """Sum of ms and number of spans by block, of all or of those that are chosen."""
        if chosen is None:
            return self.operation_ms.sum(axis=1), self.sent
        return np.where(chosen, self.operation_ms, 0.0).sum(axis=1), chosen.sum(axis=1) * 1.0


def arms(
    rng: np.random.Generator, world: World, pairs: int, *, paired: bool = True
) -> tuple[Arm, Arm]:
    """Two arms between which nothing differs, in ABBA order.

    Without ``paired`` each arm draws its own requests, as a load that is not ours does.
    """
    order = np.array(([0, 1, 1, 0] * pairs)[: 2 * pairs])
    walk = np.exp(np.cumsum(rng.normal(0.0, world.drift, 2 * pairs)))
    machine = walk * np.exp(rng.normal(0.0, world.mood, 2 * pairs))
    shape = (pairs, REQUESTS)
    alike = MEAN_MS * world.times(rng, shape)
    other = alike if paired else MEAN_MS * world.times(rng, shape)
    return (
        _arm(rng, world, alike, machine[order == 0]),
        _arm(rng, world, other, machine[order == 1]),
    )


def _arm(rng: np.random.Generator, world: World, alike: Floats, machine: Floats) -> Arm:
    factor = machine[:, None] * world.spells(rng, (alike.shape[0], alike.shape[1]))
    own = rng.lognormal(-(_OWN_SIGMA**2) / 2.0, _OWN_SIGMA, alike.shape)
    return Arm(
        response_ms=alike * own * factor,
        operation_ms=OPERATION_MS * world.times(rng, alike.shape) * factor,
        machine=machine,
        sent=np.full(len(machine), float(alike.shape[1])),
    )


@cache
def percentile_ms(world: World, q: float) -> float:
    """The true percentile of a request's time on a machine that is as fast as it should be."""
    rng = np.random.default_rng(0)
    own = rng.lognormal(-(_OWN_SIGMA**2) / 2.0, _OWN_SIGMA, _SAMPLE)
    slow = rng.random(_SAMPLE) < _SPELL_SHARE if world.bursts else np.zeros(_SAMPLE, np.bool_)
    made = MEAN_MS * world.times(rng, (_SAMPLE,)) * own * np.where(slow, _SPELL_TIMES, 1.0)
    return float(np.quantile(made, q))
