"""How much would I have to run to know?

Unpaired, a relative change d of a mean needs n = 2 (2.80 CV / d)^2 requests per arm (two-sided
5 %, power 80 %; 2.80 = 1.96 + 0.84). Paired by draw only the differences scatter: n = (2.80 s / (d
m))^2 with s their standard deviation and m the mean. Both figures are given, with what this run
could see.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.questions.failures.answer import succeeded
from analysis.questions.faster.answer import request_ms
from analysis.questions.measured import Measured
from analysis.rundir.blocks import pairs
from analysis.rundir.manifest import Manifest
from analysis.stats.intervals import Floats, finite

REACH = 1.959964 + 0.841621
"""Standard errors that an effect must span: 1.96 for two-sided 5 %, and 0.84 for power 80 %."""

MIN_PAIRED_REQUESTS = 15
"""However little the pairs scatter, fewer pairs than this say nothing about their scatter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectabilityRow:
    """How much would have to be run to see a change of an arm's mean."""

    arm: str
    requests: int
    mean_ms: float
    cv: float | None
    """Coefficient of variation within a load level."""
    paired_sd_ms: float | None
    """Standard deviation of the differences of pairs."""
    change: float | None
    """Relative, the one asked about."""
    unpaired_requests: int | None
    paired_requests: int | None
    unpaired_seconds: float | None
    paired_seconds: float | None
    smallest_unpaired: float | None
    """The smallest relative change that this run could see."""
    smallest_paired: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Detectability:
    """How much would have to be run to know."""

    rows: tuple[DetectabilityRow, ...]


def answer(measured: Measured) -> Detectability:
    """Requests per arm to see the change that was found."""
    requests = measured.requests[succeeded(measured.requests)]
    return detectability(measured.manifest, requests, measured.blocks)


def detectability(
    manifest: Manifest, requests: pd.DataFrame, blocks: pd.DataFrame
) -> Detectability:
    """``answer`` of the tables alone; ``requests`` are those that succeeded."""
    if manifest.baseline is None or requests.empty or blocks.empty:
        return Detectability(rows=())
    rows = []
    rate = float(blocks["rate_per_s"].max())
    timed = requests.assign(ms=request_ms(requests, "intended_ns")).dropna(subset=["ms"])
    for arm in manifest.treatments:
        both = pairs(blocks, manifest.baseline, arm)
        before = timed[timed["block"].isin(both["first"])]
        after = timed[timed["block"].isin(both["second"])]
        n = min(len(before), len(after))
        if n < MIN_PAIRED_REQUESTS:
            continue
        mean = float(before["ms"].mean())
        cv = _within_step_cv(before, blocks)
        # only our scenarios send both arms the same draws
        gaps = paired_gaps(before, after) if manifest.scenario else np.empty(0)
        spread = float(gaps.std(ddof=1)) if len(gaps) > 1 else math.nan
        found = float(gaps.mean()) if len(gaps) else float(after["ms"].mean()) - mean
        change = abs(found) / mean
        unpaired = unpaired_requests(cv, change)
        paired = paired_requests(spread / mean, change)
        rows.append(
            DetectabilityRow(
                arm=arm,
                requests=n,
                mean_ms=mean,
                cv=cv,
                paired_sd_ms=finite(spread),
                change=change,
                unpaired_requests=unpaired,
                paired_requests=paired,
                unpaired_seconds=_seconds(unpaired, rate),
                paired_seconds=_seconds(paired, rate),
                smallest_unpaired=REACH * cv * math.sqrt(2.0 / n),
                smallest_paired=finite(REACH * spread / mean / math.sqrt(max(len(gaps), 1))),
            )
        )
    return Detectability(rows=tuple(rows))


def unpaired_requests(cv: float, change: float | None) -> int | None:
    """Requests per arm without pairing; None when there is no change to look for."""
    if not change or not math.isfinite(cv):
        return None
    return math.ceil(2.0 * (REACH * cv / change) ** 2)


def paired_requests(relative_sd: float, change: float | None) -> int | None:
    """Requests per arm with pairing by draw; ``relative_sd`` is that of the differences."""
    if not change or not math.isfinite(relative_sd):
        return None
    return max(MIN_PAIRED_REQUESTS, math.ceil((REACH * relative_sd / change) ** 2))


def paired_gaps(before: pd.DataFrame, after: pd.DataFrame) -> Floats:
    """After minus before, in ms, over the draws that both arms saw."""
    one = before.drop_duplicates("draw").set_index("draw")["ms"]
    two = after.drop_duplicates("draw").set_index("draw")["ms"]
    return np.asarray((two - one).dropna(), dtype=np.float64)


def _within_step_cv(before: pd.DataFrame, blocks: pd.DataFrame) -> float:
    """Coefficient of variation within a load level: the steps' differences do not count."""
    step = before["block"].map(blocks.set_index("block")["step"])
    groups = before.groupby(step)["ms"]
    variances, means, sizes = groups.var(ddof=1), groups.mean(), groups.size()
    relative = variances / means**2
    known = relative.notna()
    if not known.any():
        return math.nan
    return float(np.sqrt(np.average(relative[known], weights=sizes[known])))


def _seconds(requests: int | None, rate_per_s: float) -> float | None:
    """Time for both arms at this rate."""
    return None if requests is None else 2.0 * requests / rate_per_s
