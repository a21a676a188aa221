"""Did it get faster?

By operation, with hits, misses and their mixture apart: the mixture is two populations, and its
slowest 1 % sits inside the misses whatever the hits do. End to end, by mean and percentiles, of
the response time (from the intended send) and the service time (from the actual send). Compared
are the draws that both arms answered as asked (2xx): errors and refusals come fast, and would make
an arm look faster for not doing its work. What was never answered is the slowest there is.

Answer of ``operations``: arm, service, operation, which (all, hits, misses), before, after (mean
ms), ratio (before / after), saved (ms). Of ``end_to_end``: arm, step (none for all), time,
statistic, before, after, difference (after - before, ms), relative (of before), decided, left_out
(draws that an arm answered otherwise), unanswered (requests, counted among the slowest).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.questions.failures.answer import succeeded, unanswered
from analysis.rundir.blocks import pairs
from analysis.rundir.manifest import Manifest
from analysis.stats.intervals import Estimate, Floats, decide, mean, ratio_of_means
from analysis.stats.quantiles import pool, quantile, quantile_difference

QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
"""The percentiles of end-to-end times."""

ALL = "all"


def operations(manifest: Manifest, spans: pd.DataFrame, blocks: pd.DataFrame) -> pd.DataFrame:
    """Mean duration by operation, each treatment against the baseline, over pairs of blocks."""
    columns = ["arm", "service", "operation", "which", "before", "after", "ratio", "saved"]
    timed = spans[["service", "name", "block", "cache_hit", "duration_ns"]].dropna(
        subset=["duration_ns", "block"]
    )
    rows = []
    for (service, name), group in timed.groupby(["service", "name"], sort=True, observed=True):
        cells = _block_means(group)
        for arm in manifest.treatments:
            rows += _operation_rows(manifest, blocks, cells, arm, (str(service), str(name)))
    return pd.DataFrame(rows, columns=columns)


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
) -> list[tuple[object, ...]]:
    """The baseline's mean of all against the arm's mean of all, of hits and of misses."""
    if manifest.baseline is None:
        return []
    both = pairs(blocks, manifest.baseline, arm)
    rows: list[tuple[object, ...]] = []
    for which, after in cells.items():
        first = cells[ALL].reindex(both["first"])
        second = after.reindex(both["second"])
        n = int(first["size"].sum() + second["size"].sum())
        if not first["size"].sum() or not second["size"].sum():
            continue
        one, two = first["mean"].to_numpy(np.float64), second["mean"].to_numpy(np.float64)
        rows.append(
            (
                arm,
                *operation,
                "mixture" if which == ALL and len(cells) > 1 else which,
                _pooled(first),
                _pooled(second),
                ratio_of_means(one, two, n=n),
                mean(one - two, unit="ms", n=n, method="t over paired block means"),
            )
        )
    return rows


def _pooled(cells: pd.DataFrame) -> Estimate:
    return mean(cells["mean"].to_numpy(np.float64), unit="ms", n=int(cells["size"].sum()))


def end_to_end(manifest: Manifest, requests: pd.DataFrame, blocks: pd.DataFrame) -> pd.DataFrame:
    """Mean and percentiles of whole requests, each treatment against the baseline."""
    columns = [
        "arm", "step", "time", "statistic", "before", "after", "difference", "relative", "decided",
        "left_out", "unanswered",
    ]  # fmt: skip
    if manifest.baseline is None or requests.empty:
        return pd.DataFrame(columns=columns)
    rows: list[tuple[object, ...]] = []
    for time, origin in (("response", "intended_ns"), ("service", "sent_ns")):
        values = times_by_block(requests, origin)
        for arm in manifest.treatments:
            both = pairs(blocks, manifest.baseline, arm)
            scopes: list[tuple[int | None, pd.DataFrame]] = [(None, both)]
            if len(both["step"].unique()) > 1:
                scopes += [(int(str(step)), rows) for step, rows in both.groupby("step")]
            for step, chosen in scopes:
                kept, *lacking = comparable(values, chosen)
                for statistic, before, after, difference in _statistics(kept):
                    relative = _relative(difference, before)
                    cells = (before, after, difference, relative, decide(difference))
                    rows.append((arm, step, time, statistic, *cells, *lacking))
    return pd.DataFrame(rows, columns=columns)


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
