"""Which requests did the load itself cut off?

A load that keeps its users busy (a closed loop) has a request of each under way when it stops, and
kills it. Nothing failed there: such requests are set aside, counted and said. One that had been
under way for longer than any that ended did not come to its end before either: it counts.

Worked example: 20 users, answers within 80 ms, the load stops at 10 s. The 20 requests sent after
9.92 s are cut off; one that was sent at 3 s and never answered hung.
"""

from __future__ import annotations

import pandas as pd

STOPPED = "stopped before it ended"
"""The error of a request that the load killed when it stopped; the load writes it."""


def cut_off(requests: pd.DataFrame) -> pd.Series:
    """Whether each request was under way when the load stopped, and no longer than others took."""
    killed = requests["end_ns"].isna() & (requests["error"] == STOPPED).fillna(value=False)
    if not killed.any():
        return killed.astype(bool)
    keys = requests["block"].astype("object").where(requests["block"].notna(), -1)
    last = requests[["sent_ns", "end_ns"]].astype("float64").max(axis=1)
    stopped_ns = last.groupby(keys).transform("max")
    took = (requests["end_ns"] - requests["sent_ns"]).astype("float64")
    longest = took.groupby(keys).transform("max").fillna(0.0)
    age = stopped_ns - requests["sent_ns"].astype("float64")
    return (killed & (age <= longest)).astype(bool)


def without_cut_off(requests: pd.DataFrame) -> pd.DataFrame:
    """The requests that came to an end of their own, or hung."""
    cut = cut_off(requests)
    return requests[~cut] if cut.any() else requests
