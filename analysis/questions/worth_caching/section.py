"""What else is worth caching?"""

from __future__ import annotations

from matplotlib.figure import Figure

from analysis.document import formatting
from analysis.document.document import Drawing, Section, Table
from analysis.document.setting import Setting
from analysis.document.tables import (
    COUNTED,
    Field,
    estimates,
    exact,
    sample_sizes,
    tabulate,
    words,
)
from analysis.questions.findings import Findings
from analysis.questions.worth_caching import figure as worth_caching_figure
from analysis.questions.worth_caching.answer import CandidateRow, WorthCaching

QUESTION = "What else is worth caching?"

MAX_ROWS = 8
"""Beyond these there is nothing worth anybody's time."""

_MINUTES_FROM_S, _HOURS_FROM_S = 120, 3600
"""From where on a time to live is written in minutes, and in hours."""


def section(findings: Findings, setting: Setting) -> Section | None:
    """The most each operation could save, and how often its keys repeat."""
    rows = [
        row
        for row in findings.of(WorthCaching).rows
        if row.best_hit_ratio or row.saves_queries_per_request
    ][:MAX_ROWS]
    if not rows:
        return None

    def draw(*, narrow: bool) -> Figure:
        return worth_caching_figure.figure(rows, narrow=narrow)

    said = "; ".join(row.sentence for row in rows)
    return Section(
        key="worth-caching",
        question=QUESTION,
        answer=_answer(rows),
        reading=(
            "Above, the most of a request's time that a cache in front of the operation could"
            " save; below, the queries it would have saved with the keys of this run. The"
            " operation of this run is in colour."
        ),
        emulated=setting.emulated("Times are those of the profile; keys and queries are counted."),
        sample="The baseline arm's traces, warm-up included, as it would have warmed a cache too.",
        drawings=(
            Drawing(
                name="worth-caching", alt=f"What each operation could save. {said}", draw=draw
            ),
        ),
        tables=(_table(rows),),
        notes=(_about_keys(findings.run.users),),
    )


def _about_keys(users: int | None) -> str:
    """That the hit ratios hold for the users of this scenario."""
    counted = f"{formatting.count(users)} users" if users else "users"
    return (
        f"The keys are those of this run's {counted} and messages, and the hit ratios depend on"
        " how many of them the scenario has: those of other traffic need its own traces."
    )


def _answer(rows: list[CandidateRow]) -> str:
    """The best by queries among what is not cached yet."""
    open_rows = [row for row in rows if not row.cached]
    if not open_rows:
        return "Nothing besides what is cached already: no other operation's keys repeat."
    return max(open_rows, key=lambda row: row.saves_queries_per_request).sentence


def _table(rows: list[CandidateRow]) -> Table:
    """Every candidate with the hit ratios that its keys would have given."""
    lives = dict.fromkeys(ttl for row in rows for ttl in row.hit_ratios)
    fields: tuple[Field[CandidateRow], ...] = (
        words("Operation", lambda row: row.operation, code=True),
        estimates("Saves at most", lambda row: row.saves_at_most_ms),
        exact("Keys", lambda row: row.keys, why=COUNTED),
        exact("Lookups", lambda row: row.lookups, why=COUNTED, sample=True),
        *map(_hit_ratio, lives),
        exact("Saves queries", lambda row: row.saves_queries_per_request, why=COUNTED),
        sample_sizes(lambda row: row.saves_at_most_ms, "Spans"),
    )
    caption = "Hit ratio by time to live, from the keys in the traces (counted, no interval)"
    return tabulate(rows, fields, caption)


def _hit_ratio(ttl: str) -> Field[CandidateRow]:
    """The column of one time to live."""
    seconds = float(ttl)
    if seconds >= _HOURS_FROM_S:
        life = f"{seconds / 3600:g} h"
    elif seconds >= _MINUTES_FROM_S:
        life = f"{seconds / 60:g} min"
    else:
        life = formatting.plain(seconds, "s")
    return exact(f"Hits at {life}", lambda row: row.hit_ratios.get(ttl), "share", why=COUNTED)
