"""Is it the same, within a margin named beforehand?

"Not different" is not "the same": that needs a margin and two one-sided tests (TOST, Schuirmann
1987, equation 1) on the logarithms of paired block means. A test that cannot be made decides
nothing.

Answer: arm, what, margin, p_value, interval (90 %, of the ratio), decided (same within the margin,
or not decided), sentence.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy.special import stdtr

from analysis.blocks import pairs
from analysis.faster import request_ms
from analysis.intervals import MIN_BLOCKS, Floats, too_few
from analysis.manifest import Manifest

DEFAULT_MARGIN = 0.01
"""One percent of the mean response time: less than any person or timeout will notice."""

ALPHA = 0.05
"""Level of each of the two one-sided tests."""


def equivalence(
    manifest: Manifest,
    requests: pd.DataFrame,
    blocks: pd.DataFrame,
    *,
    margin: float = DEFAULT_MARGIN,
) -> pd.DataFrame:
    """Whether each treatment's mean response time equals the baseline's within ``margin``."""
    columns = ["arm", "what", "margin", "pairs", "p_value", "decided", "sentence"]
    if manifest.baseline is None or requests.empty:
        return pd.DataFrame(columns=columns)
    times = request_ms(requests, "intended_ns").groupby(requests["block"].to_numpy()).mean()
    rows = []
    for arm in manifest.treatments:
        both = pairs(blocks, manifest.baseline, arm)
        first = times.reindex(both["first"]).to_numpy(np.float64)
        second = times.reindex(both["second"]).to_numpy(np.float64)
        fits = np.isfinite(first) & np.isfinite(second)
        p_value, sentence = same(first[fits], second[fits], margin=margin)
        decided = "same" if p_value is not None and p_value < ALPHA else "not decided"
        rows.append(
            (arm, "mean response time", margin, int(fits.sum()), p_value, decided, sentence)
        )
    return pd.DataFrame(rows, columns=columns)


def same(first: Floats, second: Floats, *, margin: float) -> tuple[float | None, str]:
    """P-value of "they differ by more than ``margin``", and a sentence; None when untestable."""
    reason = too_few(len(first))
    if reason is not None:
        return None, f"Not decided: {reason}."
    gap = np.log(second) - np.log(first)
    limit = math.log1p(margin)
    if np.ptp(gap) <= 1e-12:  # noqa: PLR2004 - rounding of a logarithm: the pairs do not scatter
        p_value = 0.0 if abs(gap[0]) < limit else 1.0
    else:
        p_value = two_one_sided(gap, limit)
    if not math.isfinite(p_value):
        return None, "Not decided: the test could not be made."
    if p_value < ALPHA:
        return p_value, f"The same within {margin:.3g} of the mean (two one-sided tests)."
    return p_value, f"Not shown to be the same within {margin:.3g} of the mean."


def two_one_sided(gap: Floats, limit: float) -> float:
    """P-value of "the mean gap is beyond +-``limit``": the larger of the two one-sided t tests.

    What ``statsmodels.stats.weightstats.ttost_paired`` gives, without the second that importing
    it would cost every report.
    """
    error = float(gap.std(ddof=1)) / math.sqrt(len(gap))
    centre = float(gap.mean())
    tails = stdtr(len(gap) - 1, np.array([-(centre + limit), centre - limit]) / error)
    return float(tails.max())


def pairs_needed(sd_log: float, margin: float, *, largest: int = 100_000) -> int:
    """Pairs of blocks for TOST to decide when the truth is no difference, with power 80 %."""
    needed = math.ceil(2 * ((1.645 + 1.282) * sd_log / math.log1p(margin)) ** 2 / 2) + 2
    return min(max(needed, MIN_BLOCKS), largest)
