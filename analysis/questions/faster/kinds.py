"""Do two arms serve the same mix of requests? If not, kind by kind and standardised.

A total over several kinds of request moves with their mix alone: an arm that got slower at every
kind looks faster when it was asked for more of the quick ones (Simpson's paradox). A kind is a
scenario and a request's name. Where the arms' mixes differ each kind is compared with its like,
and the mean over all is that of both arms weighted by the same mix, the pooled one (direct
standardisation). A percentile has no such mean, so that over all kinds there is none.

A worked example: off answers 80 reads in 10 ms and 20 writes in 100 ms, on 20 reads in 12 ms and
80 writes in 110 ms. The totals are 28 and 90.4 ms; by the pooled mix, half and half, 55 and 61 ms:
6 ms longer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.questions.faster.times import Times, times_by_block, without_fast_failures
from analysis.stats.family import holm, p_value
from analysis.stats.intervals import (
    Estimate,
    Floats,
    difference,
    jackknife_ends,
    nothing,
    ratio_of_sums,
    too_few,
)
from analysis.stats.quantiles import pool, quantile, quantile_difference

LEAST_SHIFT = 0.01
"""A kind's part may differ by this between arms: what so little moves is within what is seen."""

LEAST_SHIFT_UNTESTED = 0.05
"""The same where there are too few blocks for a test."""

FEWEST = 30
"""A kind with fewer requests in one of the arms has no mean of its own there."""

QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
"""The percentiles of end-to-end times."""

MOST_NAMED = 4
"""Kinds named in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One statistic of two arms' times, in ms."""

    statistic: str
    before: Estimate
    after: Estimate
    difference: Estimate
    """After minus before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What one arm was sent, by block and kind."""

    blocks: tuple[int, ...]
    counts: pd.DataFrame
    """Requests: a row a block, a column a kind."""
    times: dict[str, tuple[Times, ...]]
    """Of each kind the times by block, without what failed fast."""

    def sums(self, kind: str) -> tuple[Floats, Floats]:
        """Sum of ms and number of requests that ended, by block."""
        came = [each.ms[np.isfinite(each.ms)] for each in self.times[kind]]
        return np.array([each.sum() for each in came]), np.array(
            [len(each) for each in came], float
        )


def kinds_of(requests: pd.DataFrame) -> pd.Series:
    """Each request's kind: its scenario and name, as far as they are known."""
    named = [requests[column].astype("object").fillna("") for column in ("scenario", "name")]
    return (named[0] + ": " + named[1]).str.strip(": ").replace("", "without a name")


def traffic(requests: pd.DataFrame, blocks: Sequence[int], origin: str) -> Traffic:
    """What was sent in these blocks; times are from ``origin``, a column of ``requests``."""
    own = requests[requests["block"].isin(list(blocks))]
    kinds = kinds_of(own)
    counts = pd.crosstab(own["block"], kinds).reindex(list(blocks), fill_value=0)
    none = Times(
        draw=np.array([], np.int64),
        ms=np.array([]),
        done=np.array([], np.bool_),
        never=np.array([], np.bool_),
    )
    times = {}
    for kind, rows in own.groupby(kinds):
        found = times_by_block(rows, origin)
        times[str(kind)] = tuple(
            without_fast_failures(found[block]) if block in found else none for block in blocks
        )
    return Traffic(blocks=tuple(map(int, blocks)), counts=counts, times=times)


def unlike(one: Traffic, two: Traffic) -> str | None:
    """Say how the mix of requests differs; None where it is the same as far as can be seen.

    A kind's part by blocks (ratio of sums), tested for all kinds together (Holm), and by at least
    one point. With too few blocks for a test a difference of five points is taken as one.
    """
    kinds = sorted({str(kind) for side in (one, two) for kind in side.counts})
    if len(kinds) < 2:  # noqa: PLR2004 - one kind has no mix
        return None
    parts = {kind: (_part(one, kind), _part(two, kind)) for kind in kinds}
    gaps = {kind: difference(after, before) for kind, (before, after) in parts.items()}
    values = {kind: abs(gap.value or 0.0) for kind, gap in gaps.items()}
    if all(gap.has_interval for gap in gaps.values()):
        tests = np.array([p_value(gap) for gap in gaps.values()])
        sure = holm(tests, np.zeros(len(tests), np.bool_))
        moved = [k for k, is_sure in zip(kinds, sure, strict=True) if is_sure]
        moved = [kind for kind in moved if values[kind] >= LEAST_SHIFT]
    else:
        moved = [kind for kind in kinds if values[kind] >= LEAST_SHIFT_UNTESTED]
    if not moved:
        return None
    named = sorted(moved, key=values.__getitem__, reverse=True)[:MOST_NAMED]
    said = "; ".join(
        f"{kind}: {parts[kind][0].value or 0:.0%} and {parts[kind][1].value or 0:.0%}"
        for kind in named
    )
    return (
        f"The two were not sent the same mix of requests ({said}), and a total over unlike traffic"
        " would move with the mix alone (Simpson's paradox)"
    )


def _part(side: Traffic, kind: str) -> Estimate:
    """A kind's part of an arm's requests."""
    total = side.counts.sum(axis=1).to_numpy(np.float64)
    own = side.counts[kind].to_numpy(np.float64) if kind in side.counts else np.zeros(len(total))
    return ratio_of_sums(own, total, unit="share", n=int(total.sum()))


def in_both(one: Traffic, two: Traffic) -> list[str]:
    """The kinds that have enough requests on both sides, the most frequent first."""
    fewest = {
        kind: min(one.sums(kind)[1].sum(), two.sums(kind)[1].sum())
        for kind in set(one.times) & set(two.times)
    }
    kept = [kind for kind, count in fewest.items() if count >= FEWEST]
    return sorted(kept, key=lambda kind: (-fewest[kind], kind))


def by_kind(
    one: Traffic, two: Traffic, *, steps: Sequence[int] | None
) -> Iterator[tuple[str, Difference]]:
    """Mean and percentiles of each kind that both have; ``steps`` is the load level of each pair.

    Without ``steps`` the blocks are no pairs, and each side has its own scatter.
    """
    for kind in in_both(one, two):
        yield kind, standardised(one, two, [kind], steps=steps)
        held = [
            pool([each.slowest_if_never for each in own], [each.exact for each in own])
            for own in (one.times[kind], two.times[kind])
        ]
        for name, q in QUANTILES.items():
            before, after = (quantile(side, q, unit="ms") for side in held)
            gap = (
                difference(after, before)
                if steps is None
                else quantile_difference(held[1], held[0], q, unit="ms")
            )
            yield (
                kind,
                Difference(statistic=name, before=before, after=after, difference=gap),
            )


def standardised(
    one: Traffic, two: Traffic, kinds: Sequence[str], *, steps: Sequence[int] | None
) -> Difference:
    """Both sides' mean over these kinds by the mix of both together, and the difference.

    Delete-one-block jackknife, of the difference delete-one-pair where there are ``steps``. The
    weights are held: they say of which mix the mean is asked.
    """
    if not kinds:
        none = nothing("ms", f"no kind of request has {FEWEST} requests on both sides")
        return Difference(statistic="mean", before=none, after=none, difference=none)
    sums = [np.array([side.sums(kind) for kind in kinds]) for side in (one, two)]
    weights = np.add(*(side[:, 1].sum(axis=1) for side in sums))
    weights = weights / weights.sum()
    means = [_mean(side, weights) for side in sums]
    before, after = (found for found, _ in means)
    if steps is None:
        gap = difference(after, before)
    else:
        first, second = (part for _, part in means)
        left = None if first is None or second is None else second - first
        gap = _with_ends((after.value or 0.0) - (before.value or 0.0), left, after, steps)
        gap = replace(gap, n=before.n + after.n)
    return Difference(statistic="mean", before=before, after=after, difference=gap)


def _mean(sums: Floats, weights: Floats) -> tuple[Estimate, Floats | None]:
    """The weighted mean of kinds, and its values with one block left out."""
    totals = sums.sum(axis=2)
    blocks = int((sums[:, 1].sum(axis=0) > 0).sum())
    bare = Estimate(value=None, unit="ms", n=int(totals[:, 1].sum()), blocks=blocks)
    whole = float(weights @ (totals[:, 0] / totals[:, 1]))
    rest = totals[:, :, None] - sums
    left = weights @ (rest[:, 0] / rest[:, 1]) if (rest[:, 1] > 0).all() else None
    return _with_ends(whole, left, bare, None).at_least(0.0), left


def _with_ends(
    whole: float, left: Floats | None, bare: Estimate, steps: Sequence[int] | None
) -> Estimate:
    found = replace(
        bare, value=whole, low=None, high=None, method="by the pooled mix, delete-one jackknife"
    )
    reason = too_few(found.blocks)
    levels: NDArray[np.int64] | None = None if steps is None else np.asarray(steps, np.int64)
    sizes = np.array([]) if levels is None else np.unique(levels, return_counts=True)[1]
    if reason is None and (sizes == 1).any():
        reason = "a load level has one block: each needs two for an interval over all levels"
    if reason is None and left is None:
        reason = "one block holds all requests of a kind"
    if reason is not None or left is None:
        return replace(found, reason=reason)
    low, high = jackknife_ends(whole, left, levels)
    return replace(found, low=low, high=high)
