"""Was every marked block of a recording under load?

A script that marks a block and then fails to load it leaves no trace of it: the block is missing
in every table. The marks themselves are events.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from analysis.checks.counts.cross_checks import roots
from analysis.checks.run_checks import Issue, Level
from worthit.contract.marks import MARK, mark_from, windows

MOST_NAMED = 4
"""Blocks named in the sentence."""


def about_marked_blocks(spans: pd.DataFrame, events: pd.DataFrame) -> list[Issue]:
    """Marked blocks in which no request began."""
    marks = events[events["kind"] == MARK]
    if marks.empty:
        return []
    said = zip(marks["detail"], marks["t_ns"], strict=True)
    marked = windows(mark_from(json.loads(detail), int(t_ns)) for detail, t_ns in said)
    starts = np.sort(roots(spans)["start_ns"].to_numpy(np.int64))
    empty = []
    for window in marked:
        until = len(starts)
        if window.end_ns is not None:
            until = int(np.searchsorted(starts, window.end_ns))
        if until <= int(np.searchsorted(starts, window.start_ns)):
            empty.append(window)
    if not empty:
        return []
    named = ", ".join(f"block {window.block} of {window.arm}" for window in empty[:MOST_NAMED])
    more = f" and {len(empty) - MOST_NAMED} more" if len(empty) > MOST_NAMED else ""
    return [
        Issue(
            Level.SUSPECT,
            f"{len(empty)} of {len(marked)} marked blocks hold no request ({named}{more}): nobody"
            " sent any, or none of their spans arrived.",
        )
    ]
