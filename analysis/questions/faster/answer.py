"""Did it get faster?

By operation, with hits, misses and their mixture apart: the mixture is two populations, and its
slowest 1 % sits inside the misses whatever the hits do. End to end, by mean and percentiles, of
the response time (from the intended send) and the service time (from the actual send). A request
that failed would have taken at least as long as it did: its time is a lower end (censored). An
error or a refusal that came fast says nothing about the time, so that its draw is left out of both
arms. What was never answered is the slowest there is.

A worked example of the pairing, with two pairs of blocks and draws 1 to 3, in ms::

    pair  block  draw 1  draw 2  draw 3        after - before      block mean
    0     off    3000    2000    4000
    0     on     2994    1994    503, 9 ms     -6, -6, left out    -6.0
    1     off    2500    3500    never
    1     on     2492    3494    2900          -8, -6, left out    -7.0

Requests differ by seconds, their pairs by milliseconds: a draw is the same user, message and model
time in both arms. Draw 3 of pair 0 is left out of both blocks, as the error came fast; had it come
after 4500 ms, the difference would be at least 500. Draw 3 of pair 1 has no difference, but stays
in the percentiles, as the slowest of its block. The estimate is the mean of the block means, -6.5
ms, and its interval Student's t over them: two blocks would be too few for one.

A load that was not ours has no draws. There the mean of a block stands against the mean of the
other block of its pair, and a failure is fast or slow against the other block's answered requests.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.calltree.sampling import WEIGHT, weights_of
from analysis.questions.failures.answer import succeeded
from analysis.questions.faster import kinds
from analysis.questions.faster.kinds import QUANTILES, Difference, Traffic
from analysis.questions.faster.times import FAST_SHARE, Times, times_by_block
from analysis.questions.measured import Measured
from analysis.rundir.blocks import pairs, why_no_mean
from analysis.rundir.manifest import Manifest
from analysis.stats.intervals import (
    Estimate,
    Floats,
    decide,
    mean,
    nothing,
    pooled_means,
    ratio_of_sums,
)
from analysis.stats.quantiles import pool, quantile, quantile_difference

ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRow:
    """One operation in the baseline and in an arm, over pairs of blocks."""

    arm: str
    """The arm that is held against the baseline."""
    service: str
    operation: str
    which: str
    """all; or hits, misses and their mixture."""
    before: Estimate
    """Mean ms in the baseline."""
    after: Estimate
    """Mean ms in the arm."""
    ratio: Estimate
    """Before over after."""
    saved: Estimate
    """Before minus after."""
    decided: str
    """Of the ratio, with all other comparisons of the run: higher is faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndToEndRow:
    """The whole request in the baseline and in an arm."""

    arm: str
    """The arm that is held against the baseline."""
    step: int | None
    """None for all load levels together."""
    time: str
    """response (from the intended send) or service (from the actual send)."""
    statistic: str
    """mean, p50, p95 or p99."""
    before: Estimate
    after: Estimate
    difference: Estimate
    """After minus before: by draw where the load has draws, else of block means."""
    relative: Estimate
    """The difference as a share of the baseline."""
    decided: str
    """Of the difference, with all other comparisons of the run."""
    left_out: int
    """Draws, or requests of a load without draws, that were failed or refused fast."""
    slow_failures: int
    """Requests that failed slowly; they count as at least as long as they took."""
    unanswered: int
    """Requests that never ended; percentiles count them among the slowest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRow:
    """Requests of one kind in the baseline and in an arm, where the arms' mixes differ."""

    arm: str
    """The arm that is held against the baseline."""
    kind: str
    """Scenario and name of the requests."""
    statistic: str
    """mean, p50, p95 or p99 of the response time."""
    before: Estimate
    after: Estimate
    difference: Estimate
    """After minus before."""
    decided: str
    """Of the difference, with all other comparisons of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlikeTraffic:
    """Two arms that were not sent the same mix of requests."""

    arm: str
    """The arm that is held against the baseline."""
    sentence: str
    """How the mix differs, and why no total is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faster:
    """What got faster."""

    operations: tuple[OperationRow, ...]
    end_to_end: tuple[EndToEndRow, ...]
    unlike: tuple[UnlikeTraffic, ...] = ()
    """Arms whose mix of requests is not the baseline's: their mean is standardised."""
    kinds: tuple[KindRow, ...] = ()
    """Such arms kind by kind."""


def answer(measured: Measured) -> Faster:
    """What got faster: every operation, and the whole request."""
    manifest, blocks = measured.manifest, measured.blocks
    return Faster(
        operations=operations(manifest, _answered(measured), blocks),
        end_to_end=end_to_end(manifest, measured.requests, blocks),
        **_kind_by_kind(manifest, measured.requests, blocks),
    )


def _kind_by_kind(manifest: Manifest, requests: pd.DataFrame, blocks: pd.DataFrame) -> _KindByKind:
    """Arms that were not sent the baseline's mix, and each kind of request in them."""
    unlike: list[UnlikeTraffic] = []
    rows: list[KindRow] = []
    for arm in manifest.treatments if manifest.baseline and len(requests) else ():
        both = pairs(blocks, str(manifest.baseline), arm)
        one, two = _traffic(requests, both, "intended_ns")
        said = kinds.unlike(one, two)
        if said is None:
            continue
        unlike.append(UnlikeTraffic(arm=arm, sentence=f"{said}. {_left_alone(one, two)}".rstrip()))
        if why_no_mean(blocks[blocks["arm"].isin([manifest.baseline, arm])]) is not None:
            continue
        rows += [
            KindRow(
                arm=arm,
                kind=kind,
                statistic=found.statistic,
                before=found.before,
                after=found.after,
                difference=found.difference,
                decided=decide(found.difference),
            )
            for kind, found in kinds.by_kind(one, two, steps=list(both["step"]))
        ]
    return {"unlike": tuple(unlike), "kinds": tuple(rows)}


class _KindByKind(TypedDict):
    unlike: tuple[UnlikeTraffic, ...]
    kinds: tuple[KindRow, ...]


def _left_alone(one: Traffic, two: Traffic) -> str:
    """Name the kinds that cannot be compared, as one side has too few of them."""
    alone = sorted((set(one.times) | set(two.times)) - set(kinds.in_both(one, two)))
    if not alone:
        return ""
    named = ", ".join(alone[: kinds.MOST_NAMED])
    more = len(alone) - kinds.MOST_NAMED
    return (
        f"Not compared, with fewer than {kinds.FEWEST} requests on one side: {named}"
        f"{f' and {more} more' if more > 0 else ''}."
    )


def _traffic(requests: pd.DataFrame, both: pd.DataFrame, origin: str) -> tuple[Traffic, Traffic]:
    """What the two arms of pairs of blocks were sent."""
    one, two = (kinds.traffic(requests, list(both[side]), origin) for side in ("first", "second"))
    return one, two


def _answered(measured: Measured) -> pd.DataFrame:
    """The spans without those of requests that were not answered as asked, where load says so."""
    spans, requests = measured.spans, measured.requests
    if requests.empty:
        return spans
    otherwise = requests.loc[~succeeded(requests), "trace_id"].dropna()
    return spans[~spans["trace_id"].isin(otherwise)] if len(otherwise) else spans


def operations(
    manifest: Manifest, spans: pd.DataFrame, blocks: pd.DataFrame
) -> tuple[OperationRow, ...]:
    """Mean duration by operation, each treatment against the baseline, over pairs of blocks."""
    columns = ["service", "name", "block", "cache_hit", "duration_ns"]
    columns += [WEIGHT] if WEIGHT in spans.columns else []
    timed = spans[columns].dropna(subset=["duration_ns", "block"])
    rows: list[OperationRow] = []
    for (service, name), group in timed.groupby(["service", "name"], sort=True, observed=True):
        cells = _block_means(group)
        for arm in manifest.treatments:
            rows += _operation_rows(manifest, blocks, cells, arm, (str(service), str(name)))
    return tuple(rows)


def _block_means(group: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Mean ms and spans by block: of all spans of an operation, of its hits, of its misses."""
    weight = weights_of(group)
    durations = group["duration_ns"].astype("float64") / 1e6 * weight
    cells = pd.DataFrame({"block": group["block"], "ms": durations, "weight": weight})
    hit = group["cache_hit"]
    masks = {
        ALL: pd.Series(data=True, index=group.index),
        "hits": hit.fillna(value=False).astype(bool),
        "misses": (~hit).fillna(value=False).astype(bool),
    }
    found = {}
    for which, mask in masks.items():
        if mask.any():
            of_block = cells[mask].groupby("block")
            means = of_block["ms"].sum() / of_block["weight"].sum()
            found[which] = pd.DataFrame({"mean": means, "size": of_block.size()})
    return found


def _operation_rows(
    manifest: Manifest,
    blocks: pd.DataFrame,
    cells: dict[str, pd.DataFrame],
    arm: str,
    operation: tuple[str, str],
) -> list[OperationRow]:
    """The baseline's mean of all against the arm's mean of all, of hits and of misses."""
    if manifest.baseline is None:
        return []
    both = pairs(blocks, manifest.baseline, arm)
    rows = []
    for which, after in cells.items():
        first = cells[ALL].reindex(both["first"])
        second = after.reindex(both["second"])
        n = int(first["size"].sum() + second["size"].sum())
        if not first["size"].sum() or not second["size"].sum():
            continue
        sums = [
            (np.nan_to_num((side["mean"] * side["size"]).to_numpy(np.float64)), spans)
            for side in (first, second)
            for spans in [np.nan_to_num(side["size"].to_numpy(np.float64))]
        ]
        steps = both["step"].tolist()
        ratio, saved = pooled_means(sums[0], sums[1], n=n, strata=steps)
        rows.append(
            OperationRow(
                arm=arm,
                service=operation[0],
                operation=operation[1],
                which="mixture" if which == ALL and len(cells) > 1 else which,
                before=_pooled(sums[0], steps),
                after=_pooled(sums[1], steps),
                ratio=ratio,
                saved=saved,
                decided=decide(ratio, 1.0),
            )
        )
    return rows


def _pooled(of: tuple[Floats, Floats], steps: list[int]) -> Estimate:
    return ratio_of_sums(of[0], of[1], unit="ms", n=int(of[1].sum()), strata=steps)


def end_to_end(
    manifest: Manifest, requests: pd.DataFrame, blocks: pd.DataFrame
) -> tuple[EndToEndRow, ...]:
    """Mean and percentiles of whole requests, each treatment against the baseline."""
    if manifest.baseline is None or requests.empty:
        return ()
    rows: list[EndToEndRow] = []
    for time, origin in (("response", "intended_ns"), ("service", "sent_ns")):
        values = times_by_block(requests, origin)
        for arm in manifest.treatments:
            both = pairs(blocks, manifest.baseline, arm)
            scopes: list[tuple[int | None, pd.DataFrame]] = [(None, both)]
            if len(both["step"].unique()) > 1:
                scopes += [(int(str(step)), part) for step, part in both.groupby("step")]
            for step, chosen in scopes:
                one, two = _traffic(requests, chosen, origin)
                said = kinds.unlike(one, two)
                steps = list(chosen["step"])
                standard = (
                    None
                    if said is None
                    else _standardised(
                        said, kinds.standardised(one, two, kinds.in_both(one, two), steps=steps)
                    )
                )
                own = blocks["block"].isin([*chosen["first"], *chosen["second"]])
                grows = why_no_mean(blocks[own])
                if grows is not None:
                    standard = _refused(("mean", *QUANTILES), grows)
                rows += _end_to_end_rows(comparable(values, chosen), standard, arm, step, time)
    return tuple(rows)


_Statistic = tuple[str, Estimate, Estimate, Estimate]
"""Its name, before, after, after minus before."""


def _standardised(said: str, mean: Difference) -> Iterator[_Statistic]:
    """The statistics of unlike traffic: a mean by the pooled mix, and no percentile."""
    yield mean.statistic, mean.before, mean.after, mean.difference
    why = f"{said[0].lower()}{said[1:]}: see each kind of request by itself"
    yield from _refused(tuple(QUANTILES), why)


def _refused(names: tuple[str, ...], why: str) -> Iterator[_Statistic]:
    """Statistics that do not exist, and why."""
    none = nothing("ms", why)
    return ((name, none, none, none) for name in names)


def _end_to_end_rows(
    compared: Compared,
    standard: Iterator[_Statistic] | None,
    arm: str,
    step: int | None,
    time: str,
) -> Iterator[EndToEndRow]:
    """One row a statistic of what can be compared; ``standard`` instead, where not all can."""
    found = standard or _statistics(compared.pairs, compared.steps)
    for statistic, before, after, difference in found:
        yield EndToEndRow(
            arm=arm,
            step=step,
            time=time,
            statistic=statistic,
            before=before,
            after=after,
            difference=difference,
            relative=_relative(difference, before),
            decided=decide(difference),
            left_out=compared.left_out,
            slow_failures=compared.slow_failures,
            unanswered=compared.unanswered,
        )


Pairs = list[tuple[Times, Times]]
"""The times of two blocks that stand against each other, a pair of blocks each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What of two arms can be compared."""

    pairs: Pairs
    steps: tuple[int, ...]
    """The load level of each pair."""
    left_out: int
    """Draws that one of the two failed or refused fast."""
    slow_failures: int
    """Requests whose time is a lower end."""
    unanswered: int


def comparable(values: dict[int, Times], both: pd.DataFrame) -> Compared:
    """Pairs of blocks without the draws that one of the two failed or refused fast."""
    kept: Pairs = []
    steps = []
    left_out = slow = never = 0
    for a, b, step in zip(both["first"], both["second"], both["step"], strict=True):
        if a not in values or b not in values:
            continue
        one, two = values[a], values[b]
        spoilt = np.union1d(_failed_fast(one, two), _failed_fast(two, one))
        if len(spoilt):
            one, two = (side.only(~np.isin(side.draw, spoilt)) for side in (one, two))
        kept.append((one, two))
        steps.append(int(step))
        left_out += len(spoilt)
        slow += int((~one.exact).sum() + (~two.exact).sum())
        never += int(one.never.sum() + two.never.sum())
    return Compared(
        pairs=kept, steps=tuple(steps), left_out=left_out, slow_failures=slow, unanswered=never
    )


def _failed_fast(one: Times, two: Times) -> NDArray[np.int64]:
    """Draws that ``one`` failed in under half of the time that ``two`` took to answer them.

    Where ``two`` did not answer, its median stands in.
    """
    failed = ~one.exact
    if not failed.any() or not two.done.any():
        return one.draw[failed]
    answered = two.ms[two.done]
    partner = pd.Series(answered, index=two.draw[two.done])
    partner = partner[~partner.index.duplicated()].reindex(one.draw[failed])
    limit = partner.fillna(float(np.median(answered))).to_numpy(np.float64) * FAST_SHARE
    return one.draw[failed][one.ms[failed] < limit]


def _statistics(kept: Pairs, steps: tuple[int, ...]) -> Iterator[_Statistic]:
    """Mean, then quantiles: (name, before, after, after - before)."""
    matched = [match(one, two) for one, two in kept]
    yield (
        "mean",
        _mean_of([each.first for each in matched], steps),
        _mean_of([each.second for each in matched], steps),
        paired_difference(matched, steps),
    )
    before, after = (
        pool([pair[side].slowest_if_never for pair in kept], [pair[side].exact for pair in kept])
        for side in (0, 1)
    )
    for name, q in QUANTILES.items():
        yield (
            name,
            quantile(before, q, unit="ms"),
            quantile(after, q, unit="ms"),
            quantile_difference(after, before, q, unit="ms"),
        )


def _mean_of(blocks: list[Floats], steps: tuple[int, ...]) -> Estimate:
    means = [float(block.mean()) if len(block) else math.nan for block in blocks]
    found = mean(means, unit="ms", n=sum(len(block) for block in blocks), strata=steps)
    return found.at_least(0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """Times of two blocks that can be compared; failures count as long as they took.

    Of the draws that both blocks have, in the same order; without draws, of all requests of each.
    A failure would have taken longer, by an unknown time: at most it is taken for as slow as its
    partner, or as the mean of the other block's answered requests. That widens an interval on one
    side, and a failure can make no arm look faster.
    """

    by_draw: bool
    first: Floats
    second: Floats
    first_at_most: Floats
    second_at_most: Floats

    @property
    def is_known(self) -> bool:
        """Whether both blocks have a time."""
        return len(self.first) > 0 and len(self.second) > 0

    @property
    def n(self) -> int:
        """Pairs of requests; without draws, requests of both blocks."""
        return len(self.first) if self.by_draw else len(self.first) + len(self.second)


def match(one: Times, two: Times) -> Matched:
    """The draws whose time is known in both, and done in one of both at least.

    Both requests of a draw had the same user, personality, message and LLM time: all that cancels.
    Without draws no request has a partner, and every known time of each block is kept.
    """
    if not (one.has_draws and two.has_draws):
        return _side_by_side(one, two)
    _, left, right = np.intersect1d(one.draw, two.draw, return_indices=True)
    a, b, a_done, b_done = one.ms[left], two.ms[right], one.done[left], two.done[right]
    kept = np.isfinite(a) & np.isfinite(b) & (a_done | b_done)
    kept &= (a_done | (a >= FAST_SHARE * b)) & (b_done | (b >= FAST_SHARE * a))
    a, b, a_done, b_done = a[kept], b[kept], a_done[kept], b_done[kept]
    slower = np.maximum(a, b)
    return Matched(
        by_draw=True,
        first=a,
        second=b,
        first_at_most=np.where(a_done, a, slower),
        second_at_most=np.where(b_done, b, slower),
    )


def _side_by_side(one: Times, two: Times) -> Matched:
    """All of one block against all of another; nothing where one of them answered nothing."""
    if not one.done.any() or not two.done.any():
        none = np.empty(0)
        return Matched(
            by_draw=False, first=none, second=none, first_at_most=none, second_at_most=none
        )
    known = [side.only(np.isfinite(side.ms)) for side in (one, two)]
    typical = [float(side.ms[side.done].mean()) for side in known]
    at_most = [
        np.where(side.done, side.ms, np.maximum(side.ms, other))
        for side, other in zip(known, reversed(typical), strict=True)
    ]
    return Matched(
        by_draw=False,
        first=known[0].ms,
        second=known[1].ms,
        first_at_most=at_most[0],
        second_at_most=at_most[1],
    )


def paired_difference(kept: list[Matched], steps: tuple[int, ...] | None = None) -> Estimate:
    """Mean of second minus first in ms over pairs of blocks, Student's t over their differences.

    The difference of two blocks is over requests of the same draw where the load has draws.
    ``steps`` is the load level of each pair: how levels differ is no error.
    """
    by_draw = any(each.by_draw for each in kept)
    found, least, most = (
        mean(
            [
                float(after.mean() - before.mean()) if one.is_known else math.nan
                for one, (before, after) in zip(kept, sides, strict=True)
            ],
            unit="ms",
            n=sum(each.n for each in kept if each.is_known),
            strata=steps,
            method="paired by draw, t over block means"
            if by_draw
            else "t over differences of block means",
        )
        for sides in (
            [(each.first, each.second) for each in kept],
            [(each.first_at_most, each.second) for each in kept],
            [(each.first, each.second_at_most) for each in kept],
        )
    )
    return replace(found, low=least.low, high=most.high)


def _relative(difference: Estimate, before: Estimate) -> Estimate:
    """The difference as a share of the baseline, which is known far better."""
    if not before.value:
        return replace(difference, value=None, low=None, high=None, unit="share")
    return difference.scaled(1.0 / before.value, "share")
