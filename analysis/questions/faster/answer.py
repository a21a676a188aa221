"""Did it get faster?

By operation, with hits, misses and their mixture apart: the mixture is two populations, and its
slowest 1 % sits inside the misses whatever the hits do. End to end, by mean and percentiles, of
the response time (from the intended send) and the service time (from the actual send). Compared
are the draws that both arms answered as asked (2xx): errors and refusals come fast, and would make
an arm look faster for not doing its work. What was never answered is the slowest there is.

A worked example of the pairing, with two pairs of blocks and draws 1 to 3, in ms::

    pair  block  draw 1  draw 2  draw 3        after - before      block mean
    0     off    3000    2000    4000
    0     on     2994    1994    503 error     -6, -6, left out    -6.0
    1     off    2500    3500    never
    1     on     2492    3494    2900          -8, -6, left out    -7.0

Requests differ by seconds, their pairs by milliseconds: a draw is the same user, message and model
time in both arms. Draw 3 of pair 0 is left out of both blocks, as the error came fast. Draw 3 of
pair 1 has no difference, but stays in the percentiles, as the slowest of its block. The estimate
is the mean of the block means, -6.5 ms, and its interval Student's t over them: two blocks would
be too few for one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.questions.failures.answer import succeeded, unanswered
from analysis.questions.measured import Measured
from analysis.rundir.blocks import pairs
from analysis.rundir.manifest import Manifest
from analysis.stats.intervals import Estimate, Floats, decide, mean, ratio_of_means
from analysis.stats.quantiles import pool, quantile, quantile_difference

QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
"""The percentiles of end-to-end times."""

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
    """After minus before, paired by draw."""
    relative: Estimate
    """The difference as a share of the baseline."""
    decided: str
    left_out: int
    """Draws that one of the arms did not answer as asked."""
    unanswered: int
    """Requests that never ended; percentiles count them among the slowest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faster:
    """What got faster."""

    operations: tuple[OperationRow, ...]
    end_to_end: tuple[EndToEndRow, ...]


def answer(measured: Measured) -> Faster:
    """What got faster: every operation, and the whole request."""
    manifest, blocks = measured.manifest, measured.blocks
    return Faster(
        operations=operations(manifest, _answered(measured), blocks),
        end_to_end=end_to_end(manifest, measured.requests, blocks),
    )


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
    timed = spans[["service", "name", "block", "cache_hit", "duration_ns"]].dropna(
        subset=["duration_ns", "block"]
    )
    rows: list[OperationRow] = []
    for (service, name), group in timed.groupby(["service", "name"], sort=True, observed=True):
        cells = _block_means(group)
        for arm in manifest.treatments:
            rows += _operation_rows(manifest, blocks, cells, arm, (str(service), str(name)))
    return tuple(rows)


def _block_means(group: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Mean ms and count by block: of all spans of an operation, of its hits, of its misses."""
    durations = group["duration_ns"].astype("float64") / 1e6
    hit = group["cache_hit"]
    masks = {
        ALL: pd.Series(data=True, index=group.index),
        "hits": hit.fillna(value=False).astype(bool),
        "misses": (~hit).fillna(value=False).astype(bool),
    }
    return {
        which: durations[mask].groupby(group.loc[mask, "block"]).agg(["mean", "size"])
        for which, mask in masks.items()
        if mask.any()
    }


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
        one, two = first["mean"].to_numpy(np.float64), second["mean"].to_numpy(np.float64)
        rows.append(
            OperationRow(
                arm=arm,
                service=operation[0],
                operation=operation[1],
                which="mixture" if which == ALL and len(cells) > 1 else which,
                before=_pooled(first),
                after=_pooled(second),
                ratio=ratio_of_means(one, two, n=n),
                saved=mean(one - two, unit="ms", n=n, method="t over paired block means"),
            )
        )
    return rows


def _pooled(cells: pd.DataFrame) -> Estimate:
    return mean(cells["mean"].to_numpy(np.float64), unit="ms", n=int(cells["size"].sum()))


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
                rows += _end_to_end_rows(comparable(values, chosen), arm, step, time)
    return tuple(rows)


def _end_to_end_rows(
    compared: tuple[Pairs, int, int], arm: str, step: int | None, time: str
) -> Iterator[EndToEndRow]:
    """One row a statistic of what can be compared."""
    kept, left_out, never = compared
    for statistic, before, after, difference in _statistics(kept):
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
            left_out=left_out,
            unanswered=never,
        )


def request_ms(requests: pd.DataFrame, origin: str) -> pd.Series:
    """Milliseconds from ``origin`` to the last byte, NaN when it never came."""
    return (requests["end_ns"] - requests[origin]).astype("float64") / 1e6


def answer_ms(requests: pd.DataFrame, origin: str) -> pd.Series:
    """Milliseconds from ``origin`` to what was asked for.

    Infinite where no answer came at all, so that percentiles count it among the slowest. NaN where
    it was an error or a refusal: these come fast, and nobody asked for them.
    """
    times = request_ms(requests, origin).to_numpy(np.float64)
    times = np.where(succeeded(requests), times, np.nan)
    return pd.Series(np.where(unanswered(requests), np.inf, times), index=requests.index)


def times_by_block(requests: pd.DataFrame, origin: str) -> dict[int, pd.Series]:
    """By block, ``answer_ms`` in order of intended send, indexed by draw."""
    ordered = requests.sort_values("intended_ns")
    times = answer_ms(ordered, origin)
    times.index = pd.Index(ordered["draw"])
    return {int(str(block)): rows for block, rows in times.groupby(ordered["block"].to_numpy())}


Pairs = list[tuple[pd.Series, pd.Series]]
"""The times of two blocks that stand against each other, a pair of blocks each."""


def comparable(values: dict[int, pd.Series], both: pd.DataFrame) -> tuple[Pairs, int, int]:
    """Pairs of blocks without the draws that one of the two did not answer as asked.

    Then how many draws were left out, and how many requests were never answered (and stay).
    """
    kept: Pairs = []
    left_out = never = 0
    for a, b in zip(both["first"], both["second"], strict=True):
        if a in values and b in values:
            first, second = values[a], values[b]
            spoilt = first.index[first.isna()].union(second.index[second.isna()]).unique()
            kept.append(_without(spoilt, first, second))
            left_out += len(spoilt)
            never += int(np.isinf(kept[-1][0]).sum() + np.isinf(kept[-1][1]).sum())
    return kept, left_out, never


def both_came(kept: Pairs) -> Pairs:
    """The pairs without the draws that one of the two never answered: a mean needs both."""
    return [
        _without(one.index[np.isinf(one)].union(two.index[np.isinf(two)]), one, two)
        for one, two in kept
    ]


def _without(draws: pd.Index, first: pd.Series, second: pd.Series) -> tuple[pd.Series, pd.Series]:
    if draws.empty:
        return first, second
    return first[~first.index.isin(draws)], second[~second.index.isin(draws)]


def _statistics(kept: Pairs) -> Iterator[tuple[str, Estimate, Estimate, Estimate]]:
    """Mean, then quantiles: (name, before, after, after - before)."""
    ended = both_came(kept)
    one, two = ([pair[side].to_numpy(np.float64) for pair in ended] for side in (0, 1))
    yield ("mean", _mean_of(one), _mean_of(two), paired_difference(ended))
    before, after = (pool([pair[side].to_numpy(np.float64) for pair in kept]) for side in (0, 1))
    for name, q in QUANTILES.items():
        yield (
            name,
            quantile(before, q, unit="ms"),
            quantile(after, q, unit="ms"),
            quantile_difference(after, before, q, unit="ms"),
        )


def _mean_of(blocks: list[Floats]) -> Estimate:
    means = [float(block.mean()) for block in blocks if len(block)]
    return mean(means, unit="ms", n=sum(len(block) for block in blocks))


def paired_difference(kept: Pairs) -> Estimate:
    """Mean of (second - first) ms over requests of the same draw, t over block means.

    Both requests of a draw had the same user, personality, message and LLM time: all that cancels.
    Requests without a partner are left out.
    """
    differences = [_matched(first, second) for first, second in kept]
    means = [float(each.mean()) for each in differences if len(each)]
    n = sum(len(each) for each in differences)
    return mean(means, unit="ms", n=n, method="paired by draw, t over block means")


def _matched(first: pd.Series, second: pd.Series) -> Floats:
    one, two = first[~first.index.duplicated()], second[~second.index.duplicated()]
    gap: Floats = (two - one).to_numpy(np.float64)
    kept: Floats = gap[np.isfinite(gap)]
    return kept


def _relative(difference: Estimate, before: Estimate) -> Estimate:
    """The difference as a share of the baseline, which is known far better."""
    if not before.value:
        return replace(difference, value=None, low=None, high=None, unit="share")
    return difference.scaled(1.0 / before.value, "share")
