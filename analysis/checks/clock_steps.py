"""Was a clock set while the run was measured?

The load stamps its requests by a monotonic clock, anchored to the wall clock once; services stamp
their spans by the wall clock. So by how much a request's first span begins after the request was
sent is the difference of the two clocks, compared at every request: a clock that is set moves it
for all requests from one moment on. Nothing else does: a busy or halted service comes back.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from analysis.checks.counts.cross_checks import roots
from analysis.checks.run_checks import Issue, Level

WINDOW = 10
"""Requests of which the least late is taken: one late request says nothing about a clock."""

LEAST_STEP_NS = 50_000_000
"""A step below 50 ms is not told from how requests are accepted."""

_TIMES_OTHERS = 4.0
"""A step is so many times larger than any other change from one window to the next: where a
backlog grows, all are alike."""

_LEAST_WINDOWS = 3
"""So many windows before and after a step; fewer may be a service that starts or is ended."""


def about_clocks(spans: pd.DataFrame, requests: pd.DataFrame) -> list[Issue]:
    """Name the blocks in which something ends before it begins, or a clock was set."""
    issues = [
        Issue(
            Level.INVALID,
            f"{what} of block {block:.0f} end before they begin ({count}): a clock was set back, "
            "and the times of this block are wrong.",
        )
        for what, table in (
            ("Spans", spans[spans["duration_ns"] < 0]),
            ("Requests", requests[requests["end_ns"] < requests["sent_ns"]]),
        )
        for block, count in table["block"].dropna().value_counts(sort=False).sort_index().items()
    ]
    return [*issues, *_steps(spans, requests)]


def _steps(spans: pd.DataFrame, requests: pd.DataFrame) -> Iterator[Issue]:
    """One issue for each service whose clock was set against the load's."""
    if requests.empty or spans.empty:
        return
    begun = roots(spans).drop_duplicates("trace_id")[["trace_id", "service", "start_ns"]]
    sent = requests[["trace_id", "sent_ns", "block"]].dropna()
    both = sent.merge(begun, on="trace_id").sort_values("sent_ns")
    for service, own in both.groupby("service"):
        late = (own["start_ns"] - own["sent_ns"]).to_numpy(np.int64)
        found = _step(late)
        if found is not None:
            place, step_ns = found
            yield Issue(
                Level.INVALID,
                f"The clock of {service} was set {'forward' if step_ns > 0 else 'back'} by about "
                f"{abs(step_ns) / 1e9:.2g} s in block {own['block'].iloc[place]:.0f}: from then "
                "on all its spans stand apart from the load's requests, and the times of this "
                "block are wrong.",
            )


def _step(late: np.ndarray) -> tuple[int, int] | None:
    """Where all from one request on are later (or earlier) than all before, and by how much."""
    whole = len(late) // WINDOW
    if whole < 2 * _LEAST_WINDOWS:
        return None
    least = sliding_window_view(late, WINDOW)[::WINDOW].min(axis=1)
    most_before, least_before = np.maximum.accumulate(least), np.minimum.accumulate(least)
    most_after = np.maximum.accumulate(least[::-1])[::-1]
    least_after = np.minimum.accumulate(least[::-1])[::-1]
    up = least_after[1:] - most_before[:-1]
    down = least_before[:-1] - most_after[1:]
    gap = np.maximum(up, down)
    gap[: _LEAST_WINDOWS - 1] = gap[len(gap) - _LEAST_WINDOWS + 1 :] = 0
    at = int(np.argmax(gap))
    # a step inside a window shows in two changes, of which the neighbours are therefore not others
    others = np.abs(np.diff(least))
    others[max(at - 1, 0) : at + 2] = 0
    if gap[at] < max(LEAST_STEP_NS, _TIMES_OTHERS * float(others.max())):
        return None
    size = int(np.median(least[at + 1 :]) - np.median(least[: at + 1]))
    # the window after may hold requests from before the step: the first that is beyond half of it
    near = late[at * WINDOW : (at + 2) * WINDOW] - np.median(least[: at + 1])
    beyond = near / size > 0.5  # noqa: PLR2004 - nearer to what comes after than to before
    return at * WINDOW + int(len(beyond) - np.argmin(beyond[::-1])) % len(beyond), size
