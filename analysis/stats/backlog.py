"""How much longer than planned did the work of a block go on?

A service that cannot keep up answers later and later, and goes on answering after the schedule has
ended. Requests over scheduled time would say that it kept up. What tells is the response time: by
how much it grows from one intended send to the next. If it grows by s a second, the answers come
out at 1/(1 + s) of the rate at which the requests went in, and the block's work took 1 + s times
its schedule. However long a request takes, it does not matter as long as it stays so long.

Response times scatter, and so does the slope that they show in one block. It counts only where
the blocks of an arm and step agree on it: where Student's t over them, at 99.9 %, leaves 0
outside, so that one sound step in two thousand is taken for a tired one.

Answer of ``stretch``: by block, how many times its schedule its work took (1 or more).

Where the response time grows, longer blocks would have given another mean: at 20 % too much load
0.5 s after 5 s, 8 s after 80 s. ``overloaded`` says so more readily than ``stretch`` counts: where
the slope is surely above ``LEAST_GROWTH``, 5 % for all arms and steps together (Holm).

Answer of ``overloaded``: by block, whether the response times of its arm and step have no mean.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from analysis.stats.family import LEVEL, holm

SURE = 0.999
"""Two-sided confidence at which a growth counts: a report looks at many arms and steps at once."""


LEAST_GROWTH = 0.03
"""Slope, in s per s, that a queue may have that is not overloaded. One that is empty at the begin
of each block grows a little through it: at utilisation 0.9, 4 % of such runs of 6 blocks are
called overloaded and 7 % of those of 18 (docs/statistics.md); in steady state 2 % and none. Load
of 1.2 times the capacity has a slope of 0.2."""


def stretch(blocks: pd.DataFrame, requests: pd.DataFrame) -> pd.Series[float]:
    """``blocks`` with block, arm and step; ``requests`` with block, intended_ns and end_ns."""
    slopes = growth(requests).reindex(blocks["block"]).set_axis(blocks.index)
    keys = [blocks["arm"], blocks["step"]]
    decided = slopes.groupby(keys, dropna=False).transform(_decided)
    return 1.0 + decided.astype("float64")


def overloaded(blocks: pd.DataFrame, requests: pd.DataFrame) -> pd.Series[bool]:
    """``blocks`` with block, arm and step; ``requests`` with block, intended_ns and end_ns."""
    slopes = growth(requests).reindex(blocks["block"]).set_axis(blocks.index)
    keys = [blocks["arm"], blocks["step"]]
    group = slopes.groupby(keys, dropna=False, sort=False).ngroup().to_numpy(np.int64)
    sizes = range(int(group.max(initial=-1)) + 1)
    found = np.array([_p_value(slopes.to_numpy(np.float64)[group == one]) for one in sizes])
    rejected = holm(found, np.zeros(len(found), np.bool_), LEVEL)
    return pd.Series(rejected[group] if len(found) else False, index=blocks.index, dtype=bool)


def _p_value(slopes: NDArray[np.float64]) -> float:
    """One-sided, of a mean slope of at most ``LEAST_GROWTH``."""
    known = slopes[np.isfinite(slopes)]
    if len(known) < 2:  # noqa: PLR2004 - one block has nothing to agree with
        return math.nan
    over = float(known.mean()) - LEAST_GROWTH
    error = float(np.std(known, ddof=1)) / math.sqrt(len(known))
    if error == 0:
        return 0.0 if over > 0 else 1.0
    return float(stdtr(len(known) - 1, -over / error))


def growth(requests: pd.DataFrame) -> pd.Series[float]:
    """By block, the least-squares slope of response time over intended send, both in ns."""
    ended = requests[requests["end_ns"].notna()]
    block = ended["block"].to_numpy(np.int64)
    sent = ended["intended_ns"].to_numpy(np.int64)
    took = (ended["end_ns"].to_numpy(np.int64) - sent) / 1e9
    numbers, place = np.unique(block, return_inverse=True)
    first = np.full(len(numbers), np.iinfo(np.int64).max)
    np.minimum.at(first, place, sent)
    since = (sent - first[place]) / 1e9
    count = np.bincount(place).astype(np.float64)
    since = np.asarray(since - (np.bincount(place, since) / count)[place], np.float64)
    spread = np.bincount(place, since**2)
    together = np.bincount(place, since * took)
    slope = np.divide(together, spread, out=np.full(len(numbers), np.nan), where=spread > 0)
    return pd.Series(slope, index=numbers, dtype="float64")


def _decided(slopes: pd.Series[float]) -> float:
    """The mean slope of an arm and step where it is surely above 0, else 0."""
    known = slopes.dropna().to_numpy(np.float64)
    if len(known) < 2:  # noqa: PLR2004 - one block has nothing to agree with
        return 0.0
    centre, error = float(known.mean()), float(np.std(known, ddof=1)) / math.sqrt(len(known))
    reach = float(stdtrit(len(known) - 1, 0.5 + SURE / 2)) * error
    return centre if centre - reach > 0 else 0.0
