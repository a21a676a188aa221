"""How many requests failed?

A request failed when no status came or a 5xx did. A 429 is an answer: the rate limiter's.

Answer: arm, requests, failed (share), refused (share of 429).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.blocks import by_block
from analysis.intervals import rate

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
            rate(by_block(which.value_counts(), own["block"]), sent, unit="share")
            for which in (failed, refused)
        ]
        rows.append((arm, int(sent.sum()), *shares))
    return pd.DataFrame(rows, columns=["arm", "requests", "failed", "refused"])
