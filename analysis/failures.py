"""How many requests failed?

A request failed when no status came or a 5xx did. A 429 is an answer: the rate limiter's.

Where none was seen the interval ends at the rule of three's limit (3 over the number of requests;
Hanley and Lippman-Hand, JAMA 249, 1983), which takes failures for independent of each other: a
burst of them that fell between the blocks is not excluded by it.

Answer: arm, requests, failed (share), refused (share of 429).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.blocks import by_block
from analysis.intervals import Estimate, Floats, rate, too_few, upper_of_none

SERVER_ERROR = 500
"""HTTP status from which on the fault is the server's."""

TOO_MANY_REQUESTS = 429
"""HTTP status of a rate limiter."""


def failures(requests: pd.DataFrame, blocks: pd.DataFrame) -> pd.DataFrame:
    """Shares of failed and of refused requests by arm."""
    status = requests["status_code"].astype("float64")
    failed = requests["block"][status.isna() | (status >= SERVER_ERROR)]
    refused = requests["block"][status == TOO_MANY_REQUESTS]
    rows = []
    for arm, own in blocks.groupby("arm", dropna=False, sort=False):
        if requests.empty or not isinstance(arm, str):
            continue
        sent = own["requests"].to_numpy(np.float64)
        shares = [
            _share(by_block(which.value_counts(), own["block"]), sent)
            for which in (failed, refused)
        ]
        rows.append((arm, int(sent.sum()), *shares))
    return pd.DataFrame(rows, columns=["arm", "requests", "failed", "refused"])


def _share(events: Floats, sent: Floats) -> Estimate:
    """Share of the sent ones, with an interval also where no event was seen."""
    found = rate(events, sent, unit="share")
    if found.value != 0 or too_few(found.blocks) is not None:
        return found
    limit = upper_of_none(float(sent.sum()))
    method = "none seen: rule of three, events taken for independent"
    return replace(found, low=0.0, high=limit, reason=None, method=method)
