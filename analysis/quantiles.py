"""How sure can we be of a percentile? The pooled quantile of blocks, or a refusal with its reason.

Percentiles of latencies under load are the hardest numbers to bound: the largest values come in
spells. Delete-one-block jackknife with t(K-1); how often it covers the truth, and where nothing
does, is in docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from analysis.errors import NotEnoughDataError
from analysis.intervals import Estimate, Floats, jackknife_ends, nothing, too_few

MIN_EXCURSIONS = 25
"""Separate excursions above a quantile below which it gets no interval. On M/M/1 queues of known
truth, 10 runs of 10,000 at utilisation 0.9 give 5 to 22 for p99, where nothing tried covers
reliably; at 0.8 they give 29 to 58, and the interval covers."""


def quantile(blocks: Sequence[Floats], q: float, *, unit: str) -> Estimate:
    """The pooled q-quantile of blocks of values in order of time; delete-one-block jackknife.

    Refused, with the reason, when the values above the quantile came in fewer than
    ``MIN_EXCURSIONS`` separate excursions: then the largest values are one or two busy spells.
    """
    held = _values(blocks)
    n = sum(len(block) for block in held)
    if not n:
        return nothing(unit, "no values")
    whole = float(np.quantile(np.concatenate(held), q))
    found = Estimate(value=whole, unit=unit, n=n, blocks=len(held))
    return _bounded(found, [held], q, "pooled quantile, delete-one-block jackknife, t(K-1)")


def quantile_difference(
    first: Sequence[Floats], second: Sequence[Floats], q: float, *, unit: str
) -> Estimate:
    """Quantile of ``first`` minus quantile of ``second``; block i of both is one pair.

    Delete-one-pair jackknife, t(K-1), refused as ``quantile`` is.
    """
    if len(first) != len(second):
        raise NotEnoughDataError(
            f"{len(first)} blocks stand against {len(second)}: pairs of blocks are needed"
        )
    pairs = [
        (a, b) for a, b in zip(_finite(first), _finite(second), strict=True) if len(a) and len(b)
    ]
    if not pairs:
        return nothing(unit, "no pair of blocks holds values")
    one, two = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    n = sum(len(a) + len(b) for a, b in pairs)
    whole = float(np.quantile(np.concatenate(one), q) - np.quantile(np.concatenate(two), q))
    found = Estimate(value=whole, unit=unit, n=n, blocks=len(pairs))
    return _bounded(found, [one, two], q, "pooled quantiles, delete-one-pair jackknife, t(K-1)")


def _bounded(
    found: Estimate, sides: Sequence[Sequence[Floats]], q: float, method: str
) -> Estimate:
    """The estimate with its interval, or with the reason why it has none.

    One side: its quantile. Two: the first's minus the second's, block i of both left out together.
    """
    few = (_too_few_excursions(side, q) for side in sides)
    reason = too_few(found.blocks) or next((said for said in few if said), None)
    if reason is not None or found.value is None:
        return replace(found, reason=reason)
    first, *rest = (_left_out_quantiles(side, q) for side in sides)
    low, high = jackknife_ends(found.value, first - rest[0] if rest else first)
    return replace(found, low=low, high=high, method=method)


def excursions(blocks: Sequence[Floats], q: float) -> int:
    """How often the values rose above their pooled q-quantile and fell below the median again."""
    pooled = np.concatenate(list(blocks))
    top, middle = np.quantile(pooled, [q, 0.5])
    count = 0
    for block in blocks:
        marks = block[(block > top) | (block < middle)] > top
        count += int(marks[:1].sum()) + int((marks[1:] & ~marks[:-1]).sum())
    return count


def _too_few_excursions(blocks: Sequence[Floats], q: float) -> str | None:
    count = excursions(blocks, q)
    if count >= MIN_EXCURSIONS:
        return None
    return (
        f"the largest values came in {count} separate excursions; {MIN_EXCURSIONS} are needed"
        " before an interval of this quantile covers the truth: run longer"
    )


def _finite(blocks: Sequence[Floats]) -> list[Floats]:
    arrays = [np.asarray(block, dtype=np.float64) for block in blocks]
    return [block[np.isfinite(block)] for block in arrays]


def _values(blocks: Sequence[Floats]) -> list[Floats]:
    return [block for block in _finite(blocks) if len(block)]


def _left_out_quantiles(blocks: Sequence[Floats], q: float) -> Floats:
    """The pooled quantile without each block in turn; sorted once, so that millions stay cheap."""
    pooled = np.concatenate(list(blocks))
    owner = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
    order = np.argsort(pooled, kind="stable")
    pooled, owner = pooled[order], owner[order]
    found = []
    for number in range(len(blocks)):
        rest = pooled[owner != number]
        place = q * (len(rest) - 1)
        below = math.floor(place)
        above = min(below + 1, len(rest) - 1)
        found.append(rest[below] + (rest[above] - rest[below]) * (place - below))
    return np.asarray(found, dtype=np.float64)
