"""How sure can we be of a number? Estimates with 95 % intervals, the block being the unit.

Latencies and cache misses of one block are correlated, so no interval here treats requests as
independent: each is made from differences between blocks. Under ``MIN_BLOCKS`` blocks there is no
interval, and the reason says how many more are needed. The methods and how often their intervals
cover a known truth are in docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]

MIN_BLOCKS = 6
"""Blocks per arm below which no interval is given: with 5, t(4) is 2.8 and its own width is a
guess."""

CONFIDENCE = 0.95
"""Two-sided confidence of every interval in this project."""


RULE_OF_THREE = "none seen: rule of three, events taken for independent"
"""The method of an interval where no event was seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with what is known about its error. Shares and ratios are plain, not percent.

    One without a value but with a ``low`` is a bound: at least so much.
    """

    value: float | None
    unit: str
    n: int
    """Requests, spans or calls that the number rests on."""
    blocks: int
    """Independent blocks (or pairs of blocks) that the interval rests on."""
    low: float | None = None
    high: float | None = None
    reason: str | None = None
    """Why there is no interval, or no value; none when there is."""
    method: str = ""

    @property
    def is_known(self) -> bool:
        """Whether there is a value."""
        return self.value is not None and not math.isnan(self.value)

    @property
    def has_interval(self) -> bool:
        """Whether both ends are known."""
        return self.low is not None and self.high is not None

    @property
    def is_bound(self) -> bool:
        """Whether nothing but "at least ``low``" is known."""
        return self.value is None and self.low is not None

    def scaled(self, factor: float, unit: str) -> Estimate:
        """The same estimate times ``factor`` (which must be above 0), in another unit."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        value = None if self.value is None else self.value * factor
        return replace(self, value=value, low=low, high=high, unit=unit)

    def shifted(self, by: float, unit: str) -> Estimate:
        """The same estimate plus a constant, in another unit: a change of -0.2 is 0.8 times."""
        value, low, high = (
            None if end is None else end + by for end in (self.value, self.low, self.high)
        )
        return replace(self, value=value, low=low, high=high, unit=unit)

    def includes(self, null: float) -> bool:
        """Whether the interval holds ``null``, which would be no difference."""
        return self.low is not None and self.high is not None and self.low <= null <= self.high

    def inverse(self) -> Estimate:
        """1 over a ratio, the ends exchanged: 0.8 times fewer is 1.25 times more."""
        value, low, high = (
            1.0 / end if end else None for end in (self.value, self.high, self.low)
        )
        return replace(self, value=value, low=low, high=high)

    def without_sign(self) -> Estimate:
        """The size of a difference, for sentences that say its direction in words."""
        return self if (self.value or 0.0) >= 0 else self.negated()

    def negated(self) -> Estimate:
        """The estimate with the other sign, the ends exchanged."""
        value, low, high = (
            None if end is None else -end for end in (self.value, self.high, self.low)
        )
        return replace(self, value=value, low=low, high=high)

    def at_least(self, bound: float) -> Estimate:
        """The interval cut where the quantity cannot be: no time or count is below 0."""
        return replace(self, low=None if self.low is None else max(self.low, bound))

    def complement(self) -> Estimate:
        """1 minus the estimate, the ends exchanged and kept within 0 and 1."""
        low = None if self.high is None else max(0.0, 1.0 - self.high)
        high = None if self.low is None else min(1.0, 1.0 - self.low)
        return replace(
            self, value=None if self.value is None else 1.0 - self.value, low=low, high=high
        )


def finite(number: float | None) -> float | None:
    """The number as a float, or None where JSON has no word for it."""
    return float(number) if number is not None and math.isfinite(number) else None


def nothing(unit: str, reason: str, *, n: int = 0, blocks: int = 0) -> Estimate:
    """No number at all, and why."""
    return Estimate(value=None, unit=unit, n=n, blocks=blocks, reason=reason)


def decide(estimate: Estimate, null: float = 0.0) -> str:
    """Which side of ``null`` the truth is on: ``higher``, ``lower`` or ``not decided``.

    Never "equal": that needs a margin (``questions.equivalence``). No interval decides nothing; a
    bound decides by the end that it has.
    """
    if estimate.low is not None and estimate.low > null:
        return "higher"
    if estimate.high is not None and estimate.high < null:
        return "lower"
    return "not decided"


def too_few(blocks: int, *, needed: int = MIN_BLOCKS) -> str | None:
    """The sentence for too few blocks, or None when there are enough."""
    if blocks >= needed:
        return None
    if blocks == 0:
        return f"no blocks were run, and an interval needs {needed} of each arm"
    more = needed - blocks
    have = "1 block per arm gives" if blocks == 1 else f"{blocks} blocks per arm give"
    return f"{have} no interval: {more} more {'is' if more == 1 else 'are'} needed"


def mean(
    values: Sequence[float] | Floats,
    *,
    unit: str,
    n: int,
    method: str = "t over blocks",
    strata: Sequence[int] | None = None,
) -> Estimate:
    """Mean of one number a block, with Student's t over the blocks.

    ``strata`` is the load level of each: how levels differ is no error of their mean.
    """
    data = np.asarray(values, dtype=np.float64)
    known = np.isfinite(data)
    data = data[known]
    if not len(data):
        return nothing(unit, "no block holds a value", n=n)
    centre = float(data.mean())
    levels = None if strata is None else np.asarray(strata)[known]
    reason = too_few(len(data)) or _lonely(levels)
    if reason is not None:
        return Estimate(value=centre, unit=unit, n=n, blocks=len(data), reason=reason)
    # The jackknife of a mean is its standard error, by stratum as over all.
    left_out = (data.sum() - data) / (len(data) - 1)
    low, high = jackknife_ends(centre, left_out, levels)
    return Estimate(
        value=centre, unit=unit, n=n, blocks=len(data), low=low, high=high, method=method
    )


MIN_SPANS = 30
"""Spans of each side below which a ratio of mean times gets no interval: with fewer, one slow one
decides it, and the interval covers less than 90 % at sigma 1.5."""


def pooled_means(
    first: tuple[Floats, Floats],
    second: tuple[Floats, Floats],
    *,
    n: int,
    strata: Sequence[int] | None = None,
) -> tuple[Estimate, Estimate]:
    """Mean of ``first`` over that of ``second``, and minus it, each (sum of ms, count) by pair.

    All of a side are pooled before anything is divided: a block with four misses has no mean worth
    its logarithm. Delete-one-pair jackknife with t(K-1), of the ratio on its logarithm.
    """
    one, two = (np.array(side, np.float64) for side in (first, second))
    fits = (one[1] + two[1]) > 0
    one, two = one[:, fits], two[:, fits]
    levels = None if strata is None else np.asarray(strata)[fits]
    totals = [side.sum(axis=1) for side in (one, two)]
    if not fits.any() or min(total.min() for total in totals) <= 0:
        why = "no pair of blocks holds both"
        return nothing("ratio", why, n=n), nothing("ms", why, n=n)
    above, below = (total[0] / total[1] for total in totals)
    blocks = int(fits.sum())
    ratio = Estimate(value=float(above / below), unit="ratio", n=n, blocks=blocks)
    saved = Estimate(value=float(above - below), unit="ms", n=n, blocks=blocks)
    rest = [total[:, None] - side for total, side in zip(totals, (one, two), strict=True)]
    fewest = int(min(total[1] for total in totals))
    reason = too_few(blocks) or _lonely(levels)
    if reason is None and fewest < MIN_SPANS:
        reason = f"one side has {fewest} spans: {MIN_SPANS} are needed for an interval"
    if reason is None and min(part.min() for part in rest) <= 0:
        reason = "one block holds all of what is divided by"
    if reason is not None:
        return replace(ratio, reason=reason), replace(saved, reason=reason)
    left = [part[0] / part[1] for part in rest]
    method = "ratio of pooled means, delete-one-pair jackknife of its logarithm, t(K-1)"
    low, high = jackknife_ends(math.log(above / below), np.log(left[0] / left[1]), levels)
    least, most = jackknife_ends(float(above - below), left[0] - left[1], levels)
    return (
        replace(ratio, low=math.exp(low), high=math.exp(high), method=method),
        replace(saved, low=least, high=most, method="pooled means, delete-one-pair jackknife"),
    )


def _lonely(strata: NDArray[np.int64] | None) -> str | None:
    """Why blocks of which one stands alone on its load level have no interval."""
    if strata is None or np.unique(strata, return_counts=True)[1].min() > 1:
        return None
    return "a load level has one block: each needs two for an interval over all levels"


def rate(
    events: Floats, exposure: Floats, *, unit: str, n: int | None = None, weight: float = 1.0
) -> Estimate:
    """Events per unit of exposure, from one count and one exposure a block.

    The intercept-only quasi-Poisson model (McCullagh and Nelder, Generalized Linear Models, 1989,
    section 6.2.3; ``statsmodels`` ``GLM(..., Poisson(), exposure=...).fit(scale="X2")``) in closed
    form, with t(K-1) for the normal quantile. Misses come in bursts: Poisson's own variance is far
    too small.

    Of a sample both are estimates, and ``weight`` is the most that one seen event stands for: the
    spread between blocks has the sampling in it, the limit of what was not seen has not.
    """
    fit = _fit_rate(events, exposure)
    total = round(float(np.sum(exposure))) if n is None else n
    if fit is None:
        return nothing(unit, "nothing was exposed", n=total, blocks=len(events))
    reason = too_few(fit.blocks)
    if fit.log is None:
        none = Estimate(value=0.0, unit=unit, n=total, blocks=fit.blocks, reason=reason)
        limit = upper_of_none(float(np.sum(exposure)) / weight)
        return none if reason else replace(none, low=0.0, high=limit, method=RULE_OF_THREE)
    value = math.exp(fit.log)
    if reason is not None:
        return Estimate(value=value, unit=unit, n=total, blocks=fit.blocks, reason=reason)
    low, high = _t_ends(fit.log, math.sqrt(fit.variance), fit.blocks - 1)
    return Estimate(
        value=value,
        unit=unit,
        n=total,
        blocks=fit.blocks,
        low=math.exp(low),
        high=math.exp(high),
        method="quasi-Poisson over blocks, t(K-1)",
    )


def share(events: Floats, whole: Floats, *, n: int | None = None, weight: float = 1.0) -> Estimate:
    """Share of ``whole`` that were events, from both counts of each block; ends within 0 to 1.

    Of none and of all the interval is the rule of three's: 40 misses of 40 are no certainty.
    ``weight`` as in ``rate``.
    """
    events, whole = np.asarray(events, np.float64), np.asarray(whole, np.float64)
    if whole.sum() > 0 and events.sum() >= whole.sum():
        return rate(whole - events, whole, unit="share", n=n, weight=weight).complement()
    found = rate(events, whole, unit="share", n=n, weight=weight)
    return found if found.high is None else replace(found, high=min(found.high, 1.0))


def rate_ratio(
    first: tuple[Floats, Floats],
    second: tuple[Floats, Floats],
    *,
    n: int,
    weight: float = 1.0,
) -> Estimate:
    """Rate of ``first`` over rate of ``second``, each given as (events, exposure) by block.

    Each arm has its own dispersion: an arm without a cache makes exactly one query per request
    while the other's misses burst. Degrees of freedom are those of the smaller arm: Welch's would
    give false alarms in 6 % of A/A comparisons of counts that burst, these in 4 %. Where the
    second side saw no event the ratio has no value and no upper end, but a lower one: a bound.
    ``weight`` as in ``rate``.
    """
    above, below = _fit_rate(*first), _fit_rate(*second)
    if above is None or below is None:
        return nothing("ratio", "one side saw no request", n=n)
    blocks = min(above.blocks, below.blocks)
    if above.log is None:
        return nothing("ratio", "the first side saw no event", n=n, blocks=blocks)
    reason = too_few(blocks)
    if below.log is None:
        return _at_least(above, float(np.sum(second[1])) / weight, reason, n=n, blocks=blocks)
    log = above.log - below.log
    if reason is not None:
        return Estimate(value=math.exp(log), unit="ratio", n=n, blocks=blocks, reason=reason)
    variance = above.variance + below.variance
    low, high = _t_ends(log, math.sqrt(variance), blocks - 1)
    return Estimate(
        value=math.exp(log),
        unit="ratio",
        n=n,
        blocks=blocks,
        low=math.exp(low),
        high=math.exp(high),
        method="quasi-Poisson by arm, t(K-1) on the logarithm",
    )


def _at_least(
    above: _Rate, exposure: float, reason: str | None, *, n: int, blocks: int
) -> Estimate:
    """The lower end of a ratio to a rate of which no event was seen."""
    unseen = "the second side saw no event, so the ratio has no upper end"
    if reason is not None or above.log is None:
        return nothing("ratio", reason or unseen, n=n, blocks=blocks)
    least, _ = _t_ends(above.log, math.sqrt(above.variance), above.blocks - 1)
    return Estimate(
        value=None,
        unit="ratio",
        n=n,
        blocks=blocks,
        low=math.exp(least) / upper_of_none(exposure),
        reason=unseen,
        method=RULE_OF_THREE,
    )


def difference(first: Estimate, second: Estimate) -> Estimate:
    """First minus second of two independent estimates.

    Each end lies as far from the gap as the two ends that make it lie from their values, added in
    quadrature (square-and-add; Zou and Donner, Statistics in Medicine 27, 2008), so that an
    interval that leans to one side keeps leaning.
    """
    n, blocks = first.n + second.n, min(first.blocks, second.blocks)
    if first.value is None or second.value is None:
        return nothing(first.unit, first.reason or second.reason or "no value", n=n, blocks=blocks)
    gap = first.value - second.value
    one, two = _reaches(first), _reaches(second)
    if one is None or two is None:
        why = first.reason or second.reason
        return Estimate(value=gap, unit=first.unit, n=n, blocks=blocks, reason=why)
    return Estimate(
        value=gap,
        unit=first.unit,
        n=n,
        blocks=blocks,
        low=gap - math.hypot(one[0], two[1]),
        high=gap + math.hypot(one[1], two[0]),
        method="difference of independent estimates, distances of the ends in quadrature",
    )


def _reaches(estimate: Estimate) -> tuple[float, float] | None:
    """How far the ends lie below and above the value."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None or low is None or high is None:
        return None
    return value - low, high - value


@dataclass(frozen=True, slots=True)
class _Rate:
    log: float | None
    variance: float
    blocks: int


def _fit_rate(events: Floats, exposure: Floats) -> _Rate | None:
    events, exposure = np.asarray(events, np.float64), np.asarray(exposure, np.float64)
    events, exposure = events[exposure > 0], exposure[exposure > 0]
    if not len(exposure):
        return None
    blocks = len(exposure)
    if events.sum() == 0:
        return _Rate(None, math.nan, blocks)
    expected = exposure * (events.sum() / exposure.sum())
    if blocks == 1:
        return _Rate(math.log(events.sum() / exposure.sum()), math.nan, 1)
    dispersion = float(np.sum((events - expected) ** 2 / expected)) / (blocks - 1)
    log = math.log(events.sum() / exposure.sum())
    return _Rate(log, dispersion / float(expected.sum()), blocks)


def upper_of_none(exposure: float) -> float:
    """The 95 % upper limit of a rate when none was seen: 3 over the exposure.

    The "rule of three" (Hanley and Lippman-Hand, JAMA 249, 1983) takes events for independent of
    each other: a burst of them that fell between the blocks is not excluded by it.
    """
    return -math.log(1.0 - CONFIDENCE) / exposure


def ratio_of_sums(
    above: Floats, below: Floats, *, unit: str, n: int, strata: Sequence[int] | None = None
) -> Estimate:
    """Sum over sum, delete-one-block jackknife, t(K-1); ``strata`` as in ``mean``.

    The ends of a share stay in 0 to 1, and a ratio of what cannot be negative above 0.
    """
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    if not len(below) or below.sum() <= 0:
        return nothing(unit, "nothing to divide by", n=n, blocks=len(below))
    whole = float(above.sum() / below.sum())
    levels = None if strata is None else np.asarray(strata)
    reason = too_few(len(below)) or _lonely(levels)
    if reason is not None:
        return Estimate(value=whole, unit=unit, n=n, blocks=len(below), reason=reason)
    rest = below.sum() - below
    if (rest <= 0).any():
        why = "one block holds all of what is divided by"
        return Estimate(value=whole, unit=unit, n=n, blocks=len(below), reason=why)
    left_out = (above.sum() - above) / rest
    low, high = jackknife_ends(whole, left_out, levels)
    if unit == "share":
        high = min(high, 1.0)
    if (above >= 0).all():
        low = max(low, 0.0)
    return Estimate(
        value=whole,
        unit=unit,
        n=n,
        blocks=len(below),
        low=low,
        high=high,
        method="ratio of sums, delete-one-block jackknife, t(K-1)",
    )


def log_ratio_of_sums(above: Floats, below: Floats) -> Estimate:
    """Logarithm of sum over sum, with ``ratio_of_sums``'s jackknife of the logarithm itself.

    A side may be several counts of each block, one row each: their sums are multiplied. The
    difference of two logarithms is that of how many times one ratio is the other.
    """
    above, below = np.atleast_2d(above), np.atleast_2d(below)
    n, blocks = int(below[0].sum()), below.shape[1]
    if not blocks or (below.sum(axis=1) <= 0).any() or (above.sum(axis=1) <= 0).any():
        return nothing("log", "nothing to take a logarithm of", n=n, blocks=blocks)
    whole = _log_of_sums(above.sum(axis=1)) - _log_of_sums(below.sum(axis=1))
    reason = too_few(blocks)
    rest_above, rest_below = (side.sum(axis=1, keepdims=True) - side for side in (above, below))
    if reason is None and not ((rest_above > 0).all() and (rest_below > 0).all()):
        reason = "one block holds all of it"
    if reason is not None:
        return Estimate(value=float(whole), unit="log", n=n, blocks=blocks, reason=reason)
    low, high = jackknife_ends(float(whole), _log_of_sums(rest_above) - _log_of_sums(rest_below))
    return Estimate(
        value=float(whole), unit="log", n=n, blocks=blocks, low=low, high=high,
        method="ratio of sums, delete-one-block jackknife of its logarithm, t(K-1)",
    )  # fmt: skip


def _log_of_sums(sums: Floats) -> Floats:
    """Logarithm of the product of the counts' sums."""
    logs: Floats = np.log(sums).sum(axis=0)
    return logs


def jackknife_ends(
    whole: float, left_out: Floats, strata: NDArray[np.int64] | None = None
) -> tuple[float, float]:
    """Ends of the 95 % interval around ``whole`` from the values with one block left out.

    Without ``strata`` Tukey's pseudo-values with t(K-1). With them only how the blocks of one
    stratum differ counts (Shao and Tu, The Jackknife and Bootstrap, 1995, section 6.2), with the
    degrees of freedom of Welch and Satterthwaite.
    """
    count = len(left_out)
    groups = [left_out] if strata is None else [left_out[strata == s] for s in np.unique(strata)]
    # Leaving one of all K out moves a mean by 1/(K-1) of its distance: K-1 takes that back.
    parts = np.array(
        [
            ((count - 1) / count) ** 2
            * len(own)
            / (len(own) - 1)
            * np.sum((own - own.mean()) ** 2)
            for own in groups
        ]
    )
    freedom = np.array([len(own) - 1 for own in groups], np.float64)
    variance = float(parts.sum())
    if variance <= 0:
        return whole, whole
    return _t_ends(whole, math.sqrt(variance), float(variance**2 / np.sum(parts**2 / freedom)))


def _t_ends(centre: float, error: float, freedom: float) -> tuple[float, float]:
    reach = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2)) * error
    return centre - reach, centre + reach
