"""How much would I have to run to know?

What decides is how blocks differ, and not how requests do: requests of one block share the state
of the machine. With s the standard deviation of the differences of pairs of blocks (of the block
means of both arms, where nothing pairs) a change d needs n = ((t + t') s / d)^2 pairs, with t and
t' Student's at 97.5 and 80 % with n - 1 degrees of freedom: two-sided 5 %, power 80 %. Levels of
load are strata. Under six pairs there is no interval, and nothing is promised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from analysis.questions.faster.answer import comparable, match
from analysis.questions.faster.times import times_by_block
from analysis.questions.measured import Measured
from analysis.rundir.blocks import pairs, why_no_mean
from analysis.rundir.manifest import Manifest
from analysis.stats.intervals import CONFIDENCE, MIN_BLOCKS, Floats, finite
from analysis.stats.sequential import by_round, decided_after

POWER = 0.80
"""Share of the runs in which a change of that size is to be decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectabilityRow:
    """How much would have to be run to see a change of an arm's mean."""

    arm: str
    requests: int
    mean_ms: float
    unpaired_sd_ms: float | None
    """Standard deviation of the difference of two blocks that do not pair, within a load level."""
    paired_sd_ms: float | None
    """Standard deviation of the differences of pairs of blocks."""
    unpaired_blocks: int | None
    """Blocks per arm to see the change without pairing."""
    paired_blocks: int | None
    """Pairs of blocks to see the change."""
    change: float | None
    """Relative, the one asked about."""
    unpaired_requests: int | None
    paired_requests: int | None
    unpaired_seconds: float | None
    paired_seconds: float | None
    smallest_unpaired: float | None
    """The smallest relative change that this run could see."""
    smallest_paired: float | None
    rounds: int
    """Rounds, of a pair of blocks of each load level, that an always-valid test can look at."""
    decided_after: int | None
    """Of these, after how many that test would have decided that the mean differs."""
    decided_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Detectability:
    """How much would have to be run to know."""

    rows: tuple[DetectabilityRow, ...]


def answer(measured: Measured) -> Detectability:
    """Blocks and requests per arm to see the change that was found."""
    return detectability(measured.manifest, measured.requests, measured.blocks)


def detectability(
    manifest: Manifest, requests: pd.DataFrame, blocks: pd.DataFrame
) -> Detectability:
    """``answer`` of the tables alone."""
    if manifest.baseline is None or requests.empty or blocks.empty:
        return Detectability(rows=())
    times = times_by_block(requests, "intended_ns")
    rows, gaps = [], []
    for arm in manifest.treatments:
        both = pairs(blocks, manifest.baseline, arm)
        compared = comparable(times, both)
        matched = [match(one, two) for one, two in compared.pairs]
        means = np.array(
            [(each.first.mean(), each.second.mean()) for each in matched if len(each.first)]
        ).reshape(-1, 2)
        steps = np.array(
            [step for step, each in zip(compared.steps, matched, strict=True) if len(each.first)]
        )
        if len(means) < 2:  # noqa: PLR2004 - one pair does not scatter
            continue
        own = blocks[blocks["block"].isin(both["first"])]
        rows.append(_row(arm, means, steps, float(own["requests"].mean()), own["seconds"].mean()))
        grows = why_no_mean(blocks[blocks["arm"].isin([manifest.baseline, arm])])
        differences = by_round(means[:, 1] - means[:, 0], steps.tolist())
        gaps.append(differences if grows is None else np.empty(0))
    seconds = 2.0 * blocks.groupby("step")["seconds"].mean().sum()
    return Detectability(
        rows=tuple(
            replace(
                row,
                rounds=len(own),
                decided_after=after,
                decided_seconds=None if after is None else float(after * seconds),
            )
            for row, own, after in zip(rows, gaps, decided_after(gaps), strict=True)
        )
    )


def _row(
    arm: str, means: Floats, steps: NDArray[np.int64], requests: float, seconds: float
) -> DetectabilityRow:
    """One arm, from the block means of both by pair; ``requests``, ``seconds`` of a block."""
    mean = float(means[:, 0].mean())
    gaps = means[:, 1] - means[:, 0]
    paired = _sd_within(gaps, steps)
    alone = math.hypot(_sd_within(means[:, 0], steps), _sd_within(means[:, 1], steps))
    change = abs(float(gaps.mean()))
    needed = [blocks_needed(sd, change) for sd in (alone, paired)]

    def per_block(count: int | None, amount: float) -> float | None:
        return None if count is None else count * amount

    sent = [per_block(count, requests) for count in needed]
    return DetectabilityRow(
        arm=arm,
        requests=round(len(means) * requests),
        mean_ms=mean,
        unpaired_sd_ms=finite(alone),
        paired_sd_ms=finite(paired),
        unpaired_blocks=needed[0],
        paired_blocks=needed[1],
        change=change / mean,
        unpaired_requests=None if sent[0] is None else round(sent[0]),
        paired_requests=None if sent[1] is None else round(sent[1]),
        unpaired_seconds=per_block(needed[0], 2.0 * seconds),
        paired_seconds=per_block(needed[1], 2.0 * seconds),
        smallest_unpaired=smallest(alone / mean, len(means)),
        smallest_paired=smallest(paired / mean, len(means)),
        rounds=0,
        decided_after=None,
        decided_seconds=None,
    )


def _sd_within(values: Floats, steps: NDArray[np.int64]) -> float:
    """Standard deviation of blocks of one load level, over all levels."""
    groups = [values[steps == step] for step in np.unique(steps)]
    freedom = len(values) - len(groups)
    squares = sum(float(np.sum((own - own.mean()) ** 2)) for own in groups)
    return math.sqrt(squares / freedom) if freedom else math.nan


def smallest(sd: float, blocks: int) -> float | None:
    """The smallest difference that so many pairs could see; none where no interval will be."""
    if blocks < MIN_BLOCKS or not math.isfinite(sd):
        return None
    reach = float(stdtrit(blocks - 1, 0.5 + CONFIDENCE / 2) + stdtrit(blocks - 1, POWER))
    return reach * sd / math.sqrt(blocks)


def blocks_needed(sd: float, change: float) -> int | None:
    """Pairs of blocks to see ``change``, at least as many as an interval needs.

    None when there is no change to look for.
    """
    if not change or not math.isfinite(sd):
        return None
    reach = float(ndtri(0.5 + CONFIDENCE / 2) + ndtri(POWER))
    count = max(MIN_BLOCKS, math.ceil((reach * sd / change) ** 2))
    while (smallest(sd, count) or 0.0) > change:
        count += 1  # Student's quantiles cost two or three blocks more than the normal's
    return count
