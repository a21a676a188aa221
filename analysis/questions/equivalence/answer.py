"""Is it the same, within a margin named beforehand?

"Not different" is not "the same": that needs a margin and two one-sided tests (TOST, Schuirmann
1987, equation 1) on the logarithms of paired block means, over the draws that both arms answered;
of a load without draws, over all that was answered.
Both tests reject at 5 % exactly when the 90 % interval lies within the margin, so that interval is
given, drawn and decided by. A test that cannot be made decides nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from analysis.questions.faster.answer import comparable, match
from analysis.questions.faster.times import times_by_block
from analysis.questions.measured import Measured
from analysis.rundir.blocks import pairs, why_no_mean
from analysis.rundir.manifest import Manifest
from analysis.stats.intervals import Estimate, Floats, nothing, too_few

DEFAULT_MARGIN = 0.01
"""One percent of the mean response time: less than any person or timeout will notice."""

ALPHA = 0.05
"""Level of each of the two one-sided tests."""

METHOD = "90 % interval, t over the logarithms of paired block means (two one-sided tests)"


@dataclass(frozen=True, slots=True, kw_only=True)
class EquivalenceRow:
    """Whether an arm is the same as the baseline within a margin."""

    arm: str
    what: str
    margin: float
    """Relative."""
    pairs: int
    """Pairs of blocks."""
    change: Estimate
    """Relative, with its 90 % interval."""
    p_value: float | None
    decided: str
    """same, or not decided."""
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalence:
    """Whether it is the same within a margin named beforehand."""

    rows: tuple[EquivalenceRow, ...]


def answer(measured: Measured) -> Equivalence:
    """Whether each treatment's mean response time equals the baseline's within the margin."""
    return equivalence(measured.manifest, measured.requests, measured.blocks)


def equivalence(
    manifest: Manifest,
    requests: pd.DataFrame,
    blocks: pd.DataFrame,
    *,
    margin: float = DEFAULT_MARGIN,
) -> Equivalence:
    """``answer`` of the tables alone, within any margin."""
    if manifest.baseline is None or requests.empty:
        return Equivalence(rows=())
    times = times_by_block(requests, "intended_ns")
    rows = []
    for arm in manifest.treatments:
        kept = comparable(times, pairs(blocks, manifest.baseline, arm)).pairs
        matched = [each for each in (match(one, two) for one, two in kept) if each.is_known]
        n = sum(each.n for each in matched)
        grows = why_no_mean(blocks[blocks["arm"].isin([manifest.baseline, arm])])
        sides = [
            [(each.first_at_most.mean(), each.second.mean()) for each in matched],
            [(each.first.mean(), each.second_at_most.mean()) for each in matched],
        ]  # what failed slowly would have taken longer: both ways must be within the margin
        tested = [
            same(
                *np.asarray(means, np.float64).reshape(-1, 2).T, margin=margin, n=n, why_not=grows
            )
            for means in sides
        ]
        found = max(tested, key=lambda one: 1.0 if one.p_value is None else one.p_value)
        is_same = found.p_value is not None and found.p_value < ALPHA
        rows.append(
            EquivalenceRow(
                arm=arm,
                what="mean response time",
                margin=margin,
                pairs=len(matched),
                change=found.change,
                p_value=found.p_value,
                decided="same" if is_same else "not decided",
                sentence=found.sentence,
            )
        )
    return Equivalence(rows=tuple(rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sameness:
    """What the tests say."""

    change: Estimate
    """Second over first, minus 1, with its 90 % interval."""
    p_value: float | None
    """Of "they differ by more than the margin"; none when untestable."""
    sentence: str


def same(
    first: Floats, second: Floats, *, margin: float, n: int = 0, why_not: str | None = None
) -> Sameness:
    """Test whether paired block means differ by more than ``margin``, unless ``why_not`` is."""
    gap = np.log(second) - np.log(first)
    why_not = why_not or too_few(len(first))
    if why_not is None and not np.isfinite(gap).all():
        why_not = "the test could not be made"
    if why_not is not None:
        change = nothing("share", why_not, n=n, blocks=len(first))
        return Sameness(change=change, p_value=None, sentence=f"Not decided: {why_not}.")
    p_value = two_one_sided(gap, math.log1p(margin))
    said = (
        f"The same within {margin:.3g} of the mean (two one-sided tests)."
        if p_value < ALPHA
        else f"Not shown to be the same within {margin:.3g} of the mean."
    )
    return Sameness(change=_change(gap, n), p_value=p_value, sentence=said)


def margin_ends(margin: float) -> tuple[float, float]:
    """The margin as relative changes: as far up as down in the logarithm, which is tested."""
    return 1.0 / (1.0 + margin) - 1.0, margin


def _change(gap: Floats, n: int) -> Estimate:
    """The change with the interval that the two tests amount to."""
    centre, error = float(gap.mean()), float(gap.std(ddof=1)) / math.sqrt(len(gap))
    reach = float(stdtrit(len(gap) - 1, 1.0 - ALPHA)) * error
    value, low, high = (math.expm1(end) for end in (centre, centre - reach, centre + reach))
    return Estimate(
        value=value, low=low, high=high, unit="share", n=n, blocks=len(gap), method=METHOD
    )


def two_one_sided(gap: Floats, limit: float) -> float:
    """P-value of "the mean gap is beyond +-``limit``": the larger of the two one-sided t tests.

    What ``statsmodels.stats.weightstats.ttost_paired`` gives, without the second that importing
    it would cost every report. Pairs that do not scatter at all leave no doubt.
    """
    if np.ptp(gap) <= 1e-12:  # noqa: PLR2004 - rounding of a logarithm
        return 0.0 if abs(gap[0]) < limit else 1.0
    error = float(gap.std(ddof=1)) / math.sqrt(len(gap))
    centre = float(gap.mean())
    tails = stdtr(len(gap) - 1, np.array([-(centre + limit), centre - limit]) / error)
    return float(tails.max())
