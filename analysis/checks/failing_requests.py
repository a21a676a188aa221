"""Where did requests fail or never end? By arm and step: an average hides the one that did.

Of two arms one may fail in 1.9 % of its requests, and the two together in less than 1 %: the
comparison is spoilt all the same. So each arm is judged at each step, and the worst decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.checks.fault_windows import in_fault
from analysis.checks.run_checks import Issue, Level
from worthit.contract.limits import UNENDED_INVALID_SHARE, UNENDED_VALID_SHARE

ERRORS_VALID_SHARE = 0.01
"""Above 1 % errors (no status, or 5xx, outside of injected faults) the times mix work and
failure."""

ERRORS_INVALID_SHARE = 0.20
"""Above 20 % errors it is an experiment about failing, whatever it was meant to be."""

SERVER_ERROR = 500
"""HTTP status from which on the fault is the server's; a 4xx is an answer, such as a rate
limiter's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    """What share of the requests is too much, and what is said of it."""

    valid: float
    invalid: float
    said: str
    """After the number of requests."""


_ERRORS = _Limits(
    valid=ERRORS_VALID_SHARE,
    invalid=ERRORS_INVALID_SHARE,
    said=f"requests failed, above {ERRORS_VALID_SHARE:.0%}: the times mix work and failure.",
)
_UNENDED = _Limits(
    valid=UNENDED_VALID_SHARE,
    invalid=UNENDED_INVALID_SHARE,
    said=f"requests never ended, above {UNENDED_VALID_SHARE:.1%}: the tail is cut off.",
)


def about_errors(counted: pd.DataFrame, events: pd.DataFrame) -> list[Issue]:
    """Failed requests, but for those that an injected fault of their arm explains."""
    usual = counted[~in_fault(counted["sent_ns"], counted["arm"], events)]
    status = usual["status_code"].astype("float64")
    return _issues(usual, status.isna() | (status >= SERVER_ERROR), _ERRORS)


def about_unended(counted: pd.DataFrame) -> list[Issue]:
    """Requests without an end."""
    return _issues(counted, counted["end_ns"].isna(), _UNENDED)


def _issues(requests: pd.DataFrame, bad: pd.Series, limits: _Limits) -> list[Issue]:
    """One issue a step: its worst arm, and which others are beyond the limit too."""
    cells = (
        requests.assign(bad=bad.astype("float64"))
        .groupby(["step", "arm"], dropna=False)["bad"]
        .agg(["mean", "size"])
        .reset_index()
    )
    beyond = cells[cells["mean"] > limits.valid].sort_values("mean", ascending=False)
    several = len(cells["step"].unique()) > 1
    return [
        _issue(arms.to_dict("records"), limits, several=several)
        for _, arms in beyond.groupby("step", dropna=False)
    ]


def _issue(arms: Sequence[Mapping[Any, Any]], limits: _Limits, *, several: bool) -> Issue:
    worst, *others = arms
    step = None if pd.isna(worst["step"]) else int(worst["step"])
    names = [
        *([f"step {step}"] if several and step is not None else []),
        *([f"arm {worst['arm']}"] if isinstance(worst["arm"], str) else []),
    ]
    place = f"{', '.join(names)}: " if names else ""
    also = ", ".join(f"{one['arm']} ({one['mean']:.1%})" for one in others)
    return Issue(
        Level.INVALID if worst["mean"] > limits.invalid else Level.SUSPECT,
        f"{place[:1].upper()}{place[1:]}{worst['mean']:.1%} of {worst['size']} {limits.said}"
        + (f" Likewise {also}." if also else ""),
        step,
    )
