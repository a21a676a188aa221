"""How many requests failed?

A request failed when no status came or a 5xx did. A 429 is an answer: the rate limiter's. Where
none was seen the interval is the rule of three's (``analysis.stats.intervals.share``).

``succeeded`` and ``unanswered`` say of each request what became of it: an error is often answered
fast and a limiter's refusal faster still, so that neither may stand among the times of what was
asked for. One that came late, such as a timeout's 504, says that the answer would have taken at
least as long (``questions.faster``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.calltree.sampling import counted
from analysis.questions.measured import Measured
from analysis.rundir.blocks import by_block
from analysis.stats.intervals import Estimate, share

SERVER_ERROR = 500
"""HTTP status from which on the fault is the server's."""

TOO_MANY_REQUESTS = 429
"""HTTP status of a rate limiter."""

SUCCESS = (200, 299)
"""First and last HTTP status of a request that got what it asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRow:
    """Failed and refused requests of an arm."""

    arm: str
    requests: int
    failed: Estimate
    """No status came, or a 5xx."""
    refused: Estimate
    """Answered 429."""
    slow: Estimate
    """Failed, and took longer than the median of the requests that were answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """How many requests failed."""

    rows: tuple[FailureRow, ...]


def answer(measured: Measured) -> Failures:
    """Shares of failed and of refused requests by arm."""
    return Failures(rows=failures(measured.requests, measured.blocks))


def failures(requests: pd.DataFrame, blocks: pd.DataFrame) -> tuple[FailureRow, ...]:
    """``answer`` of the tables alone."""
    status = requests["status_code"].astype("float64")
    broken = status.isna() | (status >= SERVER_ERROR)
    failed = counted(requests[broken])
    slow = counted(requests[broken & _slow(requests)])
    refused = counted(requests[status == TOO_MANY_REQUESTS])
    rows = []
    for arm, own in blocks.groupby("arm", dropna=False, sort=False):
        if requests.empty or not isinstance(arm, str):
            continue
        sent = own["requests"].to_numpy(np.float64)
        rows.append(
            FailureRow(
                arm=arm,
                requests=int(sent.sum()),
                failed=share(by_block(failed, own["block"]), sent),
                refused=share(by_block(refused, own["block"]), sent),
                slow=share(by_block(slow, own["block"]), sent),
            )
        )
    return tuple(rows)


def _slow(requests: pd.DataFrame) -> pd.Series[bool]:
    """Which requests took longer than the median of those that the same arm answered."""
    took = (requests["end_ns"] - requests["intended_ns"]).astype("float64")
    middle = took.where(succeeded(requests)).groupby(requests["arm"]).transform("median")
    return took > middle


def succeeded(requests: pd.DataFrame) -> NDArray[np.bool_]:
    """Which requests were answered with what they asked for (2xx)."""
    status = _status(requests)
    ended = requests["end_ns"].notna().to_numpy(bool)
    return np.asarray(ended & (status >= SUCCESS[0]) & (status <= SUCCESS[1]))


def unanswered(requests: pd.DataFrame) -> NDArray[np.bool_]:
    """Which requests never got an answer: cut off, given up, or still open at the end."""
    status = _status(requests)
    ended = requests["end_ns"].notna().to_numpy(bool)
    return np.asarray(~ended | np.isnan(status) | (status == 0))


def _status(requests: pd.DataFrame) -> NDArray[np.float64]:
    """The HTTP status of every request, not a number where none came."""
    return np.asarray(requests["status_code"].astype("float64"), np.float64)
