"""Blocks of requests of two arms that drew the same, as the question "faster" takes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.questions.faster.answer import Compared, Matched, comparable, match
from analysis.questions.faster.times import Times

Floats = NDArray[np.float64]


def block(ms: Floats, failed: NDArray[np.bool_] | None = None) -> Times:
    """A block whose requests took so long, in order of their draws; ``failed`` ones at least."""
    lost = np.zeros(len(ms), np.bool_) if failed is None else failed
    return Times(
        draw=np.arange(len(ms)),
        ms=np.asarray(ms, np.float64),
        done=~lost,
        never=np.zeros(len(ms), np.bool_),
    )


def matched(pairs: Iterable[tuple[Floats, Floats]]) -> list[Matched]:
    """What can be compared of pairs of blocks in which nothing failed."""
    return [match(block(one), block(two)) for one, two in pairs]


def compared(pairs: Sequence[tuple[Times, Times]]) -> Compared:
    """What can be compared of pairs of blocks at one load level, fast failures left out."""
    values = {2 * place + side: pair[side] for place, pair in enumerate(pairs) for side in (0, 1)}
    numbers = np.arange(len(pairs))
    both = pd.DataFrame({"first": 2 * numbers, "second": 2 * numbers + 1, "step": 0})
    return comparable(values, both)
