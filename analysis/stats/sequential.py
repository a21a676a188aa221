"""After how many pairs would one have known? An always-valid t-test, looked at after each.

Student's t has 5 % false alarms at one look. Looked at after every pair, from 6 to 18, a false
"different" comes in 16 % of the runs in which nothing differs. The e-process here may be looked at
whenever one likes. After n differences with mean m and sum of squares S about it, it is ::

    e = (1 + n) ** -0.5 * ((1 + u) / (1 + u / (1 + n))) ** (n / 2),   u = n m² / S

the likelihood ratio of the t statistic: effects of size N(0, 1) standard deviations against none.
For normal differences of any scale it is a martingale that starts at 1 where nothing differs, so
that it ever reaches 1/a with a probability of at most a (Ville), and 1/e is a p-value at any time.
Lai, Annals of Statistics 4 (1976), 265; Wang and Ramdas, Anytime-valid t-tests, arXiv 2310.03722.

A worked example: after differences of -6.5, -7.1, -6.0, -6.9, -6.2, -6.6 ms u is 301 and e 122.

A round is one pair of blocks of each load level. Its difference is the mean over the levels: how
levels differ is no error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from analysis.stats.family import LEVEL, PRIMARY_WEIGHT, holm
from analysis.stats.intervals import MIN_BLOCKS, Floats


def decided_after(questions: Sequence[Floats]) -> list[int | None]:
    """The rounds after which each question's mean is surely not 0; None where never.

    The level is the primary question's in a report, 2.5 %, of all together by Holm's method at
    each look. With fewer than MIN_BLOCKS rounds nothing is looked at.
    """
    found: list[int | None] = [None] * len(questions)
    most = max((len(each) for each in questions), default=0)
    for rounds in range(MIN_BLOCKS, most + 1):
        p_values = np.array([math.exp(-max(0.0, log_e(each[:rounds]))) for each in questions])
        sure = holm(p_values, np.zeros(len(questions), np.bool_), LEVEL * PRIMARY_WEIGHT)
        found = [
            rounds if first is None and now else first
            for first, now in zip(found, sure, strict=True)
        ]
    return found


def log_e(differences: Floats) -> float:
    """The logarithm of the e-process of "the mean is 0"."""
    values = np.asarray(differences, np.float64)
    n = len(values)
    if n < 2:  # noqa: PLR2004 - one difference has no scatter
        return 0.0
    centre = float(values.mean())
    squares = float(((values - centre) ** 2).sum())
    if squares == 0:
        return 0.0 if centre == 0 else (n - 1) / 2 * math.log1p(n)
    u = n * centre**2 / squares
    return -0.5 * math.log1p(n) + n / 2 * (math.log1p(u) - math.log1p(u / (1 + n)))


def by_round(values: Floats, steps: Sequence[int]) -> Floats:
    """The mean over load levels of each whole round; pairs stand in order of time."""
    levels = np.asarray(steps)
    columns = [values[levels == level] for level in np.unique(levels)]
    whole = min((len(column) for column in columns), default=0)
    rounds = np.array([column[:whole] for column in columns], np.float64)
    return np.asarray(rounds.mean(axis=0), np.float64)
