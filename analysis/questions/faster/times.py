"""The times of the requests of a block, and what became of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.questions.failures.answer import succeeded, unanswered
from analysis.stats.intervals import Floats

FAST_SHARE = 0.5
"""A failure before this share of its partner's time came fast: it says nothing about the time."""


def request_ms(requests: pd.DataFrame, origin: str) -> pd.Series:
    """Milliseconds from ``origin`` to the last byte, NaN when it never came."""
    return (requests["end_ns"] - requests[origin]).astype("float64") / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The requests of a block in order of intended send."""

    draw: NDArray[np.int64]
    """Without draws, a negative number that no other request has."""
    ms: Floats
    """From the origin to the end; not a number where it never ended."""
    done: NDArray[np.bool_]
    """Answered with what was asked for. The others took at least ``ms``."""
    never: NDArray[np.bool_]
    """No answer came at all."""

    def only(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Times:
        """Some of the requests, by a mask or by their places."""
        return Times(
            draw=self.draw[chosen],
            ms=self.ms[chosen],
            done=self.done[chosen],
            never=self.never[chosen],
        )

    @property
    def has_draws(self) -> bool:
        """Whether a request may have a partner in another block."""
        return bool((self.draw >= 0).any())

    @property
    def slowest_if_never(self) -> Floats:
        """``ms``, infinite where no answer came, so that percentiles count it as slowest."""
        return np.where(self.never, np.inf, self.ms)

    @property
    def exact(self) -> NDArray[np.bool_]:
        """Which of ``slowest_if_never`` are exact, and no lower ends."""
        return self.done | self.never


def times_by_block(requests: pd.DataFrame, origin: str) -> dict[int, Times]:
    """By block, every request's time from ``origin`` and what became of it."""
    ordered = requests.sort_values("intended_ns")
    unpaired = pd.Series(-1 - np.arange(len(ordered)), index=ordered.index)
    whole = Times(
        draw=ordered["draw"].fillna(unpaired).to_numpy(np.int64),
        ms=request_ms(ordered, origin).to_numpy(np.float64),
        done=succeeded(ordered),
        never=unanswered(ordered),
    )
    places = ordered.groupby("block").indices
    return {int(str(block)): whole.only(np.sort(rows)) for block, rows in places.items()}


def without_fast_failures(times: Times) -> Times:
    """A block's requests but for failures that came fast, against the median of the answered."""
    if times.done.all() or not times.done.any():
        return times
    middle = float(np.median(times.ms[times.done]))
    return times.only(times.done | times.never | (times.ms >= FAST_SHARE * middle))
