"""How sure can we be of a percentile? The pooled quantile of blocks, or a refusal with its reason.

Percentiles of latencies under load are the hardest numbers to bound: the largest values come in
spells. The interval is the hull of two, both from differences between blocks: the delete-one-block
jackknife with t(K-1), and Woodruff's (JASA 47, 1952), which bounds the share of values below the
quantile and reads the values at both ends of that share: it leans as a long tail does, and steps
over the gap between two populations. How often the hull covers the truth, and where nothing does,
is in docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from analysis.errors import NotEnoughDataError
from analysis.stats.intervals import (
    CONFIDENCE,
    Estimate,
    Floats,
    jackknife_ends,
    nothing,
    too_few,
)

MIN_BEYOND = 60
"""Independent values beyond a quantile below which it gets no interval. Counted are the spells
above the median, which tell nothing of how high the values were: a rule that looked at the largest
values would let through the runs in which these came out low."""


NEVER_CAME = "too many requests failed or were never answered: it lies beyond what was waited for"
"""Why a quantile that falls among them has no value, or no interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Blocks of values in order of time, sorted together once for many quantiles."""

    blocks: tuple[Floats, ...]
    ordered: Floats
    """All values, the least first."""
    places: tuple[NDArray[np.int64], ...]
    """Where in ``ordered`` each block's values are, ascending."""
    exact: NDArray[np.bool_] | None = None
    """Which of ``ordered`` are exact; the others are "at least so much". None when all are."""


def pool(
    blocks: Sequence[Floats] | Pool, exact: Sequence[NDArray[np.bool_]] | None = None
) -> Pool:
    """Sort blocks of values together; what is no number is left out.

    A value that never came is infinite and stays: it was the slowest of all. ``exact`` says by
    block which values are exact; of the others, such as the times of failed requests, it is known
    only that they are at least so large (censored).
    """
    if isinstance(blocks, Pool):
        return blocks
    arrays = [np.asarray(block, dtype=np.float64) for block in blocks]
    numbers = [~np.isnan(array) for array in arrays]
    kept = tuple(array[known] for array, known in zip(arrays, numbers, strict=True))
    whole = np.concatenate([*kept, np.zeros(0)])
    sure = np.ones(len(whole), dtype=np.bool_)
    if exact is not None:
        flags = [flag[known] for flag, known in zip(exact, numbers, strict=True)]
        sure = np.concatenate([*flags, np.zeros(0, dtype=np.bool_)])
    order = np.lexsort((~sure, whole))  # of equal times the exact ones come first
    owner = np.repeat(np.arange(len(kept)), [len(block) for block in kept])[order]
    by_owner = np.argsort(owner, kind="stable")
    places = np.split(by_owner, np.cumsum([len(block) for block in kept])[:-1]) if kept else []
    return Pool(
        blocks=kept,
        ordered=whole[order],
        places=tuple(places),
        exact=None if sure.all() else sure[order],
    )


def quantile(blocks: Sequence[Floats] | Pool, q: float, *, unit: str) -> Estimate:
    """The pooled q-quantile of blocks of values in order of time; delete-one-block jackknife.

    Values that are no more than lower ends are taken as they are for the quantile and the lower
    end of its interval, and as "at least so much" (Kaplan and Meier) for the upper end. Refused,
    with the reason, when fewer than ``MIN_BEYOND`` independent values lie beyond the quantile:
    then the largest values are a few busy spells.
    """
    held = pool(blocks)
    count = sum(len(block) > 0 for block in held.blocks)
    if not len(held.ordered):
        return nothing(unit, "no values")
    method = "pooled quantile, hull of delete-one-block jackknife and Woodruff, t(K-1)"
    found = Estimate(value=None, unit=unit, n=len(held.ordered), blocks=count, method=method)
    return _bounded(found, held, None, q)


def quantile_difference(
    first: Sequence[Floats] | Pool, second: Sequence[Floats] | Pool, q: float, *, unit: str
) -> Estimate:
    """Quantile of ``first`` minus quantile of ``second``; block i of both is one pair.

    Delete-one-pair jackknife, t(K-1), lower ends and refusals as ``quantile``.
    """
    one, two = pool(first), pool(second)
    if len(one.blocks) != len(two.blocks):
        raise NotEnoughDataError(
            f"{len(one.blocks)} blocks stand against {len(two.blocks)}: pairs of blocks are needed"
        )
    both = [bool(len(a) and len(b)) for a, b in zip(one.blocks, two.blocks, strict=True)]
    if not any(both):
        return nothing(unit, "no pair of blocks holds values")
    if not all(both):
        one, two = _some(one, both), _some(two, both)
    n = len(one.ordered) + len(two.ordered)
    method = "pooled quantiles, delete-one-pair jackknife, t(K-1)"
    found = Estimate(value=None, unit=unit, n=n, blocks=sum(both), method=method)
    return _bounded(found, one, two, q)


def _some(held: Pool, chosen: Sequence[bool]) -> Pool:
    """The pool of some of its blocks."""
    places = [own for own, wanted in zip(held.places, chosen, strict=True) if wanted]
    at = np.sort(np.concatenate(places))
    return Pool(
        blocks=tuple(own for own, wanted in zip(held.blocks, chosen, strict=True) if wanted),
        ordered=held.ordered[at],
        places=tuple(np.searchsorted(at, own) for own in places),
        exact=None if held.exact is None else held.exact[at],
    )


def _bounded(found: Estimate, one: Pool, two: Pool | None, q: float) -> Estimate:
    """The estimate with its interval, or with the reason why it has none.

    One pool: its quantile. Two: the first's minus the second's, block i of both left out together.
    What failed in the second may have been slower, which can only lower the difference.
    """
    least, most = replace(one, exact=None), one
    below = above = None
    if two is not None:
        below, above = two, replace(two, exact=None)
    value = _whole(least, above, q)
    if not math.isfinite(value):
        return nothing(found.unit, NEVER_CAME, n=found.n, blocks=found.blocks)
    sides = [one] if two is None else [one, two]
    few = (_too_few_beyond(side, q) for side in sides)
    reason = too_few(found.blocks) or next((said for said in few if said), None)
    if reason is not None:
        return replace(found, value=value, reason=reason, method="")
    low, _ = _ends(least, below, q)
    _, high = _ends(most, above, q)
    if high is None and low is not None:
        return replace(found, low=low, reason=NEVER_CAME)
    if low is None or high is None:
        return replace(found, value=value, reason=NEVER_CAME, method="")
    return replace(found, value=value, low=low, high=high)


def _whole(one: Pool, two: Pool | None, q: float) -> float:
    return _at(one, q) - (0.0 if two is None else _at(two, q))


def _ends(one: Pool, two: Pool | None, q: float) -> tuple[float, float] | tuple[None, None]:
    """Both ends of the interval; none where a quantile lies beyond what was seen."""
    left_out = _left_out_quantiles(one, q)
    if two is not None:
        left_out = left_out - _left_out_quantiles(two, q)
    whole = _whole(one, two, q)
    if not (math.isfinite(whole) and np.isfinite(left_out).all()):
        return None, None
    low, high = jackknife_ends(whole, left_out)
    if two is not None:
        return low, high
    least, most = _woodruff(one, q, whole)
    if not math.isfinite(most):
        return None, None
    # times are not negative, and neither is what lies among them
    floor = 0.0 if one.ordered[0] >= 0 else -math.inf
    return max(min(low, least), floor), max(high, most)


def _woodruff(held: Pool, q: float, value: float) -> tuple[float, float]:
    """Ends from the share of values up to ``value`` by block, at most the largest.

    The share scatters at least as much as that of independent values would. That it would reach
    beyond the largest value is no reason to refuse: it does so when the quantile came out high.
    """
    blocks = [block for block in held.blocks if len(block)]
    size = np.array([len(block) for block in blocks], np.float64)
    below = np.array([np.count_nonzero(block <= value) for block in blocks], np.float64)
    rest = below - below.sum() / size.sum() * size
    count = len(blocks)
    scatter = math.sqrt(count / (count - 1) * float(rest @ rest)) / float(size.sum())
    error = max(scatter, math.sqrt(q * (1.0 - q) / float(size.sum())))
    reach = float(stdtrit(count - 1, 0.5 + CONFIDENCE / 2)) * error
    edge = 0.5 / float(size.sum())
    return _at(held, max(q - reach, edge)), _at(held, min(q + reach, 1.0))


def spells(blocks: Sequence[Floats] | Pool) -> int:
    """How often the values, in order of time, rose above their pooled median.

    Independent values do so once in four.
    """
    held = pool(blocks)
    middle = _numpys(held.ordered, 0.5)
    count = 0
    for block in held.blocks:
        above = block >= middle
        count += int(above[:1].sum()) + int((above[1:] & ~above[:-1]).sum())
    return count


def _too_few_beyond(held: Pool, q: float) -> str | None:
    independent = min(4 * spells(held), len(held.ordered))
    beyond = independent * min(q, 1.0 - q)
    if beyond >= MIN_BEYOND:
        return None
    return (
        f"the values are worth {independent} independent ones, {beyond:.0f} of them beyond this"
        f" quantile; {MIN_BEYOND} are needed before an interval covers the truth: run longer"
    )


def _at(held: Pool, q: float) -> float:
    """The q-quantile of what is pooled; infinite where it lies beyond what was seen."""
    if held.exact is not None:
        return _kaplan_meier(held.ordered, held.exact, q)
    return _numpys(held.ordered, q)


def _numpys(ordered: Floats, q: float) -> float:
    """The q-quantile of sorted values, to the last bit as ``numpy.quantile``."""
    place = q * (len(ordered) - 1)
    below = math.floor(place)
    low, high = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    part = place - below
    half = 0.5
    if math.isinf(high):
        return float(high if part else low)
    return float(low + (high - low) * part if part < half else high - (high - low) * (1 - part))


def _kaplan_meier(ordered: Floats, exact: NDArray[np.bool_], q: float) -> float:
    """The q-quantile of sorted values of which some are "at least so much".

    The product-limit estimate (Kaplan and Meier, JASA 53, 1958): what is known of a censored value
    is that it is one of the later ones, and they share its weight. Between values as
    ``numpy.quantile``, which it is when all are exact.
    """
    n = len(ordered)
    left = np.cumprod(1.0 - exact / (n - np.arange(n)))
    reached = ((1.0 - left[exact]) * n - 1.0) / max(n - 1, 1)
    values = ordered[exact]
    above = int(np.searchsorted(reached, q - 1e-12))
    if above == len(values):
        return math.inf
    if above == 0 or math.isinf(values[above]):
        return float(values[above])
    low, high = values[above - 1], values[above]
    part = (q - reached[above - 1]) / (reached[above] - reached[above - 1])
    return float(low + (high - low) * min(part, 1.0))


def _left_out_quantiles(held: Pool, q: float) -> Floats:
    """The pooled quantile without each block in turn, found in the values sorted once.

    The r-th value of the rest has as many of the block's values before it as have r or fewer of
    the rest before them.
    """
    found = []
    for own in held.places:
        if not own.size:
            continue
        if held.exact is not None:
            rest = np.delete(np.arange(len(held.ordered)), own)
            found.append(_kaplan_meier(held.ordered[rest], held.exact[rest], q))
            continue
        left = len(held.ordered) - own.size
        place = q * (left - 1)
        below = math.floor(place)
        ranks = np.array([below, min(below + 1, left - 1)])
        inside = np.searchsorted(own - np.arange(own.size), ranks, side="right")
        low, high = held.ordered[ranks + inside]
        found.append(high if math.isinf(high) else low + (high - low) * (place - below))
    return np.asarray(found, dtype=np.float64)
