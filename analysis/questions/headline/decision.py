"""Is it worth it, and for whom? One sentence, or a line each: users, database, cost.

Each word rests on one estimate. *Yes* and *no* need its whole interval on one side of what
matters, so that "no" says more than that nothing was found; else it is *not decided*.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from analysis.document import estimates
from analysis.document.document import Respect
from analysis.questions.cost.answer import Cost
from analysis.questions.database_load.answer import DatabaseLoad
from analysis.questions.faster.answer import Faster
from analysis.questions.findings import Decided, Findings
from analysis.stats.intervals import Estimate

MATTERS: Final = {"query_rate": 0.05, "users": 0.05, "database_cpu": 0.10}
"""The least relative saving that somebody has something of. A twentieth of a response is less than
people tell apart; a tenth of the CPU makes no smaller server, whose sizes go by factors of 2."""

SUBJECTS: Final = {
    "query_rate": "the database's query rate",
    "users": "users",
    "database_cpu": "its CPU",
}


def decisions(found: Findings, arm: str) -> tuple[Decided, ...]:
    """Give what was decided, of each subject that the run knows with an interval."""
    return tuple(
        Decided(subject=subject, verdict=_verdict(change, MATTERS[subject]), change=change)
        for subject, change in _changes(found, arm)
        if change.has_interval
    )


def sentence(decided: tuple[Decided, ...]) -> str:
    """Such as ``Yes for the database's query rate, no for users, no for its CPU.``"""
    if not decided:
        return ""
    said = ", ".join(f"{one.verdict} for {_called(one, decided)}" for one in decided)
    return f"{said[0].upper()}{said[1:]}."


def respects(found: Findings) -> tuple[Respect, ...]:
    """Give users, database and cost a line each, in this order; none where nothing was decided."""
    told = found.headline
    if told is None or not told.decided:
        return ()
    decided = {one.subject: one for one in told.decided}
    return tuple(
        Respect(
            subject=subject,
            verdict=decided[key].verdict,
            why=_moved(decided[key].change, what, *words)
            + (_per_request(found, told.arm) if key == "query_rate" else "")
            + ".",
        )
        if key in decided
        else Respect(subject=subject, verdict="not measured", why=f"{what} were not compared.")
        for key, subject, what, words in _LINES
    )


_LINES: Final = (
    ("users", "Users", "Response times", ("shorter", "longer")),
    ("query_rate", "Database", "Queries per request", ("fewer", "more")),
    ("database_cpu", "Cost", "CPU seconds of the database", ("fewer", "more")),
)


def _moved(change: Estimate, what: str, fewer: str, more: str) -> str:
    """Such as ``Queries per request: 19.0 % fewer``; both ends where no direction is known."""
    if change.includes(0.0):
        return f"{what}: no difference decided, {estimates.said(change)}"
    word = fewer if (change.value or 0.0) < 0 else more
    return f"{what}: {estimates.said(change.without_sign())} {word}"


def _per_request(found: Findings, arm: str | None) -> str:
    """Where all queries of a request went from, and to."""
    for row in found.of(DatabaseLoad).reductions:
        if (row.arm, row.step, row.collection) == (arm, None, None):
            return f", {estimates.said_point(row.before)} to {estimates.said_point(row.after)}"
    return ""


def _called(one: Decided, all_of_them: tuple[Decided, ...]) -> str:
    """``its`` needs the database to have been named."""
    if one.subject == "database_cpu" and all_of_them[0].subject != "query_rate":
        return "the database's CPU"
    return SUBJECTS[one.subject]


def _changes(found: Findings, arm: str) -> Iterator[tuple[str, Estimate]]:
    """Each subject's relative change: after over before minus 1."""
    for load in found.of(DatabaseLoad).reductions:
        if (load.arm, load.step, load.collection) == (arm, None, None) and load.factor.value:
            yield "query_rate", load.factor.inverse().shifted(-1.0, "share")
    for time in found.of(Faster).end_to_end:
        if (time.arm, time.step, time.time, time.statistic) == (arm, None, "response", "mean"):
            yield "users", time.relative
    cost = found.of(Cost).change("database_cpu", arm)
    if cost is not None:
        yield "database_cpu", cost.relative


def _verdict(change: Estimate, matters: float) -> str:
    """Which side of a saving that matters the whole interval is on."""
    if change.low is None or change.high is None:
        return "not decided"
    if change.high < -matters:
        return "yes"
    return "no" if change.low > -matters else "not decided"
