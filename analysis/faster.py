"""Did it get faster?

By operation, with hits, misses and their mixture apart: the mixture is two populations, and its
slowest 1 % sits inside the misses whatever the hits do. End to end, by mean and percentiles, of
the response time (from the intended send) and the service time (from the actual send).

Answer of ``operations``: arm, service, operation, which (all, hits, misses), before, after (mean
ms), ratio (before / after), saved (ms). Of ``end_to_end``: arm, step (none for all), time,
statistic, before, after, difference (after - before, ms), relative (of before), decided.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.blocks import pairs
from analysis.intervals import (
    Estimate,
    Floats,
    decide,
    mean,
    ratio_of_means,
)
from analysis.manifest import Manifest
from analysis.quantiles import pool, quantile, quantile_difference

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
    ]  # fmt: skip
    if manifest.baseline is None or requests.empty:
        return pd.DataFrame(columns=columns)
    rows = []
    for time, origin in (("response", "intended_ns"), ("service", "sent_ns")):
        values = _times_by_block(requests, origin)
        for arm in manifest.treatments:
            both = pairs(blocks, manifest.baseline, arm)
            scopes: list[tuple[int | None, pd.DataFrame]] = [(None, both)]
            if len(both["step"].unique()) > 1:
                scopes += [(int(str(step)), rows) for step, rows in both.groupby("step")]
            for step, chosen in scopes:
                for statistic, before, after, difference in _statistics(values, chosen):
                    relative = _relative(difference, before)
                    said = decide(difference)
                    rows.append(
                        (arm, step, time, statistic, before, after, difference, relative, said)
                    )
    return pd.DataFrame(rows, columns=columns)


def request_ms(requests: pd.DataFrame, origin: str) -> pd.Series:
    """Milliseconds from ``origin`` to the last byte, NaN when it never came."""
    return (requests["end_ns"] - requests[origin]).astype("float64") / 1e6


def _times_by_block(requests: pd.DataFrame, origin: str) -> dict[int, pd.Series]:
    """By block, the times in order of intended send, indexed by draw."""
    ordered = requests.sort_values("intended_ns")
    times = request_ms(ordered, origin)
    times.index = pd.Index(ordered["draw"])
    return {int(str(block)): rows for block, rows in times.groupby(ordered["block"].to_numpy())}


def _statistics(
    values: dict[int, pd.Series], both: pd.DataFrame
) -> Iterator[tuple[str, Estimate, Estimate, Estimate]]:
    """Mean, then quantiles: (name, before, after, after - before)."""
    kept = [
        (values[a], values[b])
        for a, b in zip(both["first"], both["second"], strict=True)
        if a in values and b in values
    ]
    one = [first.to_numpy(np.float64) for first, _ in kept]
    two = [second.to_numpy(np.float64) for _, second in kept]
    yield ("mean", _mean_of(one), _mean_of(two), paired_difference(kept))
    before, after = pool(one), pool(two)
    for name, q in QUANTILES.items():
        yield (
            name,
            quantile(before, q, unit="ms"),
            quantile(after, q, unit="ms"),
            quantile_difference(after, before, q, unit="ms"),
        )


def _mean_of(blocks: list[Floats]) -> Estimate:
    held = [block[np.isfinite(block)] for block in blocks]
    means = [float(block.mean()) for block in held if len(block)]
    return mean(means, unit="ms", n=sum(len(block) for block in held))


def paired_difference(kept: list[tuple[pd.Series, pd.Series]]) -> Estimate:
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
