"""How sure can we be of a percentile? The pooled quantile of blocks, or a refusal with its reason.

Percentiles of latencies under load are the hardest numbers to bound: the largest values come in
spells. Delete-one-block jackknife with t(K-1); how often it covers the truth, and where nothing
does, is in docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analysis.errors import NotEnoughDataError
from analysis.stats.intervals import Estimate, Floats, jackknife_ends, nothing, too_few

MIN_EXCURSIONS = 25
"""Separate excursions above a quantile below which it gets no interval. On M/M/1 queues of known
truth, 10 runs of 10,000 at utilisation 0.9 give 5 to 22 for p99, where nothing tried covers
reliably; at 0.8 they give 29 to 58, and the interval covers."""


NEVER_CAME = "too many requests were never answered: it lies beyond what was waited for"
"""Why a quantile that falls among them has no value, or no interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Blocks of values in order of time, sorted together once for many quantiles."""

    blocks: tuple[Floats, ...]
    ordered: Floats
    """All values, the least first."""
    places: tuple[NDArray[np.int64], ...]
    """Where in ``ordered`` each block's values are, ascending."""


def pool(blocks: Sequence[Floats] | Pool) -> Pool:
    """Sort blocks of values together; what is no number is left out.

    A value that never came is infinite and stays: it was the slowest of all.
    """
    if isinstance(blocks, Pool):
        return blocks
    arrays = [np.asarray(block, dtype=np.float64) for block in blocks]
    kept = tuple(array[~np.isnan(array)] for array in arrays)
    whole = np.concatenate([*kept, np.zeros(0)])
    order = np.argsort(whole, kind="stable")
    owner = np.repeat(np.arange(len(kept)), [len(block) for block in kept])[order]
    by_owner = np.argsort(owner, kind="stable")
    places = np.split(by_owner, np.cumsum([len(block) for block in kept])[:-1]) if kept else []
    return Pool(blocks=kept, ordered=whole[order], places=tuple(places))


def quantile(blocks: Sequence[Floats] | Pool, q: float, *, unit: str) -> Estimate:
    """The pooled q-quantile of blocks of values in order of time; delete-one-block jackknife.

    Refused, with the reason, when the values above the quantile came in fewer than
    ``MIN_EXCURSIONS`` separate excursions: then the largest values are one or two busy spells.
    """
    held = pool(blocks)
    n = len(held.ordered)
    if not n:
        return nothing(unit, "no values")
    count = sum(len(block) > 0 for block in held.blocks)
    value = _at(held.ordered, q)
    if not math.isfinite(value):
        return nothing(unit, NEVER_CAME, n=n, blocks=count)
    found = Estimate(value=value, unit=unit, n=n, blocks=count)
    return _bounded(found, [held], q, "pooled quantile, delete-one-block jackknife, t(K-1)")


def quantile_difference(
    first: Sequence[Floats] | Pool, second: Sequence[Floats] | Pool, q: float, *, unit: str
) -> Estimate:
    """Quantile of ``first`` minus quantile of ``second``; block i of both is one pair.

    Delete-one-pair jackknife, t(K-1), refused as ``quantile`` is.
    """
    one, two = pool(first), pool(second)
    if len(one.blocks) != len(two.blocks):
        raise NotEnoughDataError(
            f"{len(one.blocks)} blocks stand against {len(two.blocks)}: pairs of blocks are needed"
        )
    pairs = [(a, b) for a, b in zip(one.blocks, two.blocks, strict=True) if len(a) and len(b)]
    if not pairs:
        return nothing(unit, "no pair of blocks holds values")
    if len(pairs) < len(one.blocks):
        one, two = pool([pair[0] for pair in pairs]), pool([pair[1] for pair in pairs])
    n = len(one.ordered) + len(two.ordered)
    values = _at(one.ordered, q), _at(two.ordered, q)
    if not all(math.isfinite(value) for value in values):
        return nothing(unit, NEVER_CAME, n=n, blocks=len(pairs))
    whole = values[0] - values[1]
    found = Estimate(value=whole, unit=unit, n=n, blocks=len(pairs))
    return _bounded(found, [one, two], q, "pooled quantiles, delete-one-pair jackknife, t(K-1)")


def _bounded(found: Estimate, sides: Sequence[Pool], q: float, method: str) -> Estimate:
    """The estimate with its interval, or with the reason why it has none.

    One side: its quantile. Two: the first's minus the second's, block i of both left out together.
    """
    few = (_too_few_excursions(side, q) for side in sides)
    reason = too_few(found.blocks) or next((said for said in few if said), None)
    if reason is not None or found.value is None:
        return replace(found, reason=reason)
    first, *rest = (_left_out_quantiles(side, q) for side in sides)
    if not all(np.isfinite(part).all() for part in (first, *rest)):
        return replace(found, reason=NEVER_CAME)
    low, high = jackknife_ends(found.value, first - rest[0] if rest else first)
    return replace(found, low=low, high=high, method=method)


def excursions(blocks: Sequence[Floats] | Pool, q: float) -> int:
    """How often the values rose above their pooled q-quantile and fell below the median again."""
    held = pool(blocks)
    top, middle = _at(held.ordered, q), _at(held.ordered, 0.5)
    count = 0
    for block in held.blocks:
        marks = block[(block > top) | (block < middle)] > top
        count += int(marks[:1].sum()) + int((marks[1:] & ~marks[:-1]).sum())
    return count


def _too_few_excursions(held: Pool, q: float) -> str | None:
    count = excursions(held, q)
    if count >= MIN_EXCURSIONS:
        return None
    return (
        f"the largest values came in {count} separate excursions; {MIN_EXCURSIONS} are needed"
        " before an interval of this quantile covers the truth: run longer"
    )


def _at(ordered: Floats, q: float) -> float:
    """The q-quantile of sorted values, to the last bit as ``numpy.quantile``."""
    place = q * (len(ordered) - 1)
    below = math.floor(place)
    low, high = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    part = place - below
    half = 0.5
    if math.isinf(high):
        return float(high if part else low)
    return float(low + (high - low) * part if part < half else high - (high - low) * (1 - part))


def _left_out_quantiles(held: Pool, q: float) -> Floats:
    """The pooled quantile without each block in turn, found in the values sorted once.

    The r-th value of the rest has as many of the block's values before it as have r or fewer of
    the rest before them.
    """
    found = []
    for own in held.places:
        if not own.size:
            continue
        left = len(held.ordered) - own.size
        place = q * (left - 1)
        below = math.floor(place)
        ranks = np.array([below, min(below + 1, left - 1)])
        inside = np.searchsorted(own - np.arange(own.size), ranks, side="right")
        low, high = held.ordered[ranks + inside]
        found.append(high if math.isinf(high) else low + (high - low) * (place - below))
    return np.asarray(found, dtype=np.float64)
