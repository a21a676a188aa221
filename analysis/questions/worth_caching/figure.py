"""What else is worth caching: the most each operation could save, in time and in queries."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from analysis.document import estimates, formatting
from analysis.drawing import dots, style
from analysis.questions.worth_caching.answer import CandidateRow


def figure(rows: Sequence[CandidateRow], *, narrow: bool = False) -> Figure:
    """Draw one row per operation: time saved per request above, queries saved below.

    The operation that is cached already is in colour.
    """
    times = [
        dots.Row(
            label=row.operation,
            dots=(
                dots.Dot(
                    value=row.saves_at_most_ms.value,
                    low=row.saves_at_most_ms.low,
                    high=row.saves_at_most_ms.high,
                    colour=_colour(row),
                ),
            ),
            result=estimates.text(row.saves_at_most_ms),
            strong=row.cached,
        )
        for row in rows
        if row.saves_at_most_ms.value is not None
    ]
    queries = [
        dots.Row(
            label=row.operation,
            dots=(dots.Dot(value=row.saves_queries_per_request, colour=_colour(row)),),
            result=formatting.estimate(row.saves_queries_per_request, None, None, "count"),
            strong=row.cached,
        )
        for row in rows
    ]
    panels = [
        dots.Panel(rows=tuple(drawn), axis=axis, title=title, from_zero=True)
        for drawn, title, axis in (
            (times, "Time of a request, at most", "milliseconds per request"),
            (queries, "Queries to the database", "queries per request"),
        )
        if drawn
    ]
    return dots.figure(panels, narrow=narrow)


def _colour(row: CandidateRow) -> str:
    return style.ARM_COLOURS[1] if row.cached else style.MUTED
