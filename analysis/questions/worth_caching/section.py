"""What else is worth caching?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from analysis.document import formatting
from analysis.document.document import Drawing, Section, Table
from analysis.document.numbers import frame, number_in
from analysis.document.setting import Setting
from analysis.document.tabulation import (
    Field,
    Record,
    estimates,
    plain_column,
    plain_numbers,
    sample_sizes,
    tabulate,
    words,
)
from analysis.questions.worth_caching import figure as worth_caching_figure

QUESTION = "What else is worth caching?"

MAX_ROWS = 8
"""Beyond these there is nothing worth anybody's time."""

_ABOUT_KEYS = (
    "The keys are those of this run's {users} and messages, and the hit ratios hang on how many of"
    " them the scenario has: those of other traffic need its own traces."
)


def section(findings: Mapping[str, Any], setting: Setting) -> Section | None:
    """The most each operation could save, and how often its keys repeat."""
    rows = [row for row in records(findings.get("worth_caching")) if _could_save(row)][:MAX_ROWS]
    if not rows:
        return None
    drawn = frame(rows, ("operation", "saves_at_most_ms", "saves_queries_per_request"))
    drawn = drawn.assign(strong=[row.get("operation") == setting.cached_operation for row in rows])
    drawn = drawn.rename(
        columns={
            "saves_at_most_ms": "saved_ms",
            "saves_at_most_ms_low": "saved_ms_low",
            "saves_at_most_ms_high": "saved_ms_high",
            "saves_queries_per_request": "saved_queries",
            "saves_queries_per_request_low": "saved_queries_low",
            "saves_queries_per_request_high": "saved_queries_high",
        }
    )

    def draw(*, narrow: bool) -> Figure:
        return worth_caching_figure.figure(drawn, narrow=narrow)

    said = "; ".join(str(row.get("sentence")) for row in rows if row.get("sentence"))
    return Section(
        key="worth-caching",
        question=QUESTION,
        answer=_answer(rows),
        reading=(
            "Above, the most of a request's time that a cache in front of the operation could "
            "save;"
            " below, the queries it would have saved with the keys of this run. The operation "
            "of this"
            " run is in colour."
        ),
        emulated=setting.emulated("Times are those of the profile; keys and queries are counted."),
        sample="The baseline arm's traces, warm-up included, as it would have warmed a cache too.",
        drawings=(
            Drawing(
                name="worth-caching", alt=f"What each operation could save. {said}", draw=draw
            ),
        ),
        tables=(_table(rows),),
        notes=(_ABOUT_KEYS.format(users=_users(findings)),),
    )


def _users(findings: Mapping[str, Any]) -> str:
    """The scenario's users, with their number where the experiment says it."""
    users = (findings.get("run") or {}).get("users")
    return f"{formatting.count(users)} users" if users else "users"


def _could_save(row: Record) -> bool:
    """Whether there is anything to save: keys that repeat, or queries."""
    return bool(row.get("best_hit_ratio")) or bool(row.get("saves_queries_per_request"))


def records(found: Any) -> list[Record]:  # noqa: ANN401 - findings are JSON
    """The rows, as the document holds them."""
    return list(found or ())


def _answer(rows: list[Record]) -> str:
    """The best by queries among what is not cached yet."""
    open_rows = [row for row in rows if not row.get("cached")]
    if not open_rows:
        return "Nothing besides what is cached already: no other operation's keys repeat."
    best = max(open_rows, key=lambda row: number_in(row, "saves_queries_per_request").value or 0.0)
    return str(best.get("sentence") or f"{best.get('operation')} would save most.")


def _table(rows: list[Record]) -> Table:
    """Every candidate with the hit ratios that its keys would have given."""
    lives = list(dict.fromkeys(ttl for row in rows for ttl in (row.get("hit_ratios") or {})))
    ratios = tuple(_hit_ratio_field(ttl) for ttl in lives)
    fields = (
        words("Operation", "operation", code=True),
        estimates("Saves at most", "saves_at_most_ms", "ms"),
        plain_numbers("Keys", "keys"),
        plain_numbers("Lookups", "lookups"),
        *ratios,
        plain_numbers("Saves queries", "saves_queries_per_request"),
        sample_sizes("saves_at_most_ms", "Spans"),
    )
    return tabulate(
        rows,
        fields,
        "Hit ratio by time to live, from the keys in the traces (counted, no interval)",
    )


def _hit_ratio_field(ttl: str) -> Field:
    """The column of one time to live."""
    seconds = float(ttl)
    label = formatting.plain(seconds, "s") if seconds < 120 else f"{seconds / 60:g} min"  # noqa: PLR2004 - two minutes
    label = f"{seconds / 3600:g} h" if seconds >= 3600 else label  # noqa: PLR2004 - an hour

    def write(record: Record) -> str:
        ratio = (record.get("hit_ratios") or {}).get(ttl)
        return formatting.plain(ratio, "share")

    return Field(column=plain_column(f"Hits at {label}", "hit_ratios"), write=write)
