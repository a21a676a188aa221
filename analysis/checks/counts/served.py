"""Which answered requests does no SERVER span tell of?

A span of the client says that it asked; only one of a server says that it answered. A request
that was answered and has no SERVER span lost it: to sampling, to an SDK that was killed before its
flush, or to a dropped batch. What it asked of the database is not known, so it is left out of
queries per request.
"""

from __future__ import annotations

import pandas as pd

from analysis.checks.counts.cross_checks import SERVED_KINDS
from analysis.checks.run_checks import Issue, Level

UNSERVED_INVALID_SHARE = 0.05
"""Of the answered requests of an arm. Sampled spans still say what a sampled request did, but from
one lost request in twenty on, the lost may be of one kind: the slow ones, or the last ones."""


def served_traces(spans: pd.DataFrame) -> pd.Index[str]:
    """Traces in which a server tells of a request."""
    served: pd.Index[str] = pd.Index(
        spans.loc[spans["kind"].isin(SERVED_KINDS), "trace_id"].unique()
    )
    return served


def unserved(spans: pd.DataFrame, requests: pd.DataFrame) -> pd.Series:
    """Whether each request was answered and has no SERVER span; never where there is none at all.

    A service that makes no SERVER span has no instrumentation for its framework: that is no loss.
    """
    served = served_traces(spans)
    if served.empty:
        return pd.Series(data=False, index=requests.index)
    answered = requests["status_code"].notna()
    return answered & requests["trace_id"].notna() & ~requests["trace_id"].isin(served)


def about_unserved(spans: pd.DataFrame, requests: pd.DataFrame) -> list[Issue]:
    """Answered requests without a SERVER span, by arm; the worst arm first."""
    lost = unserved(spans, requests)
    if not lost.any():
        return []
    answered = requests["status_code"].notna()
    arms = requests["arm"].astype("object").where(requests["arm"].notna(), "")
    issues = []
    for arm, rows in lost.groupby(arms):
        total, count = int(answered[rows.index].sum()), int(rows.sum())
        if not count:
            continue
        share = count / total
        level = Level.INVALID if share > UNSERVED_INVALID_SHARE else Level.SUSPECT
        where = f"Arm {arm}: " if arm else ""
        sentence = (
            f"{where}{count} of {total} answered requests have no SERVER span and are left out of"
            " queries per request: spans were sampled, dropped or not flushed before the service"
            " ended."
        )
        issues.append((share, Issue(level, sentence)))
    return [issue for _, issue in sorted(issues, key=lambda one: -one[0])]
