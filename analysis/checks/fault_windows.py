"""Which moments lie in the window of a fault that the experiment ordered?

A fault has a begin and an end among the events, and most have an arm. What fails in that arm
meanwhile is the fault's; what fails in another arm is not. A fault without an arm concerns all.
"""

from __future__ import annotations

import pandas as pd

from analysis.checks.counts.cross_checks import json_object

RECOVERY_NS = 10_000_000_000
"""Errors up to 10 s after an injected fault ended are the fault's, not the run's."""

REDIS_PREFIX = "redis-"
"""Before the arm's name in the name of a Redis, which is one arm's own."""


def in_fault(times_ns: pd.Series, arms: pd.Series, events: pd.DataFrame) -> pd.Series:
    """Which of the times, each of an arm, lie in a fault of that arm or in its recovery."""
    inside = pd.Series(data=False, index=times_ns.index)
    faults = events[events["kind"].isin(["fault_start", "fault_end"])].sort_values("t_ns")
    faults = faults.assign(arm=[_arm_of(text) for text in faults["detail"]])
    ends = faults[faults["kind"] == "fault_end"]
    starts = faults[faults["kind"] == "fault_start"]
    for begin, arm in zip(starts["t_ns"], starts["arm"], strict=True):
        mended = ends.loc[(ends["t_ns"] >= begin) & ends["arm"].isin(["", arm]), "t_ns"]
        hit = times_ns >= begin
        if len(mended):
            hit &= times_ns <= mended.iloc[0] + RECOVERY_NS
        if arm:
            hit &= arms.isin([arm])
        inside |= hit
    return inside


def arms_of_parts(parts: pd.Series) -> pd.Series:
    """The arm that each part is of, by the part's name; missing for those that serve all arms."""
    own = parts.str.startswith(REDIS_PREFIX, na=False)
    return parts.str.removeprefix(REDIS_PREFIX).where(own)


def _arm_of(detail: object) -> str:
    """The arm that an event is about; empty for one that concerns all."""
    arm = json_object(detail).get("arm")
    return arm if isinstance(arm, str) else ""
