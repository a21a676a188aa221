"""Which of the differences that a report shows are decided, all of them together?

The family is every comparison of two arms: times of the whole request, of its operations, queries
per request, and what a request costs of each resource. The primary question is named beforehand
and is the headline's: did the mean response time, over all load levels, change?
``analysis.stats.family`` has the method.
"""

from __future__ import annotations

from dataclasses import replace

from analysis.questions.cost.answer import Cost
from analysis.questions.database_load.answer import DatabaseLoad
from analysis.questions.faster.answer import EndToEndRow, Faster
from analysis.stats.family import Hypothesis, decisions
from analysis.stats.intervals import nothing


def is_primary(row: EndToEndRow) -> bool:
    """Whether a row answers the question that every comparison is made for."""
    return row.step is None and row.time == "response" and row.statistic == "mean"


def decided_together(answers: tuple[object, ...]) -> tuple[object, ...]:
    """The answers, with ``decided`` of all comparisons as the whole family allows."""
    faster = next((one for one in answers if isinstance(one, Faster)), None)
    load = next((one for one in answers if isinstance(one, DatabaseLoad)), None)
    cost = next((one for one in answers if isinstance(one, Cost)), None)
    if faster is None or load is None or cost is None:
        return answers
    load = _without_totals(load, faster)
    words = iter(
        decisions(
            [
                *(
                    Hypothesis(estimate=row.difference, primary=is_primary(row))
                    for row in faster.end_to_end
                ),
                *(Hypothesis(estimate=row.difference) for row in faster.kinds),
                *(Hypothesis(estimate=row.ratio, null=1.0) for row in faster.operations),
                *(Hypothesis(estimate=row.factor, null=1.0) for row in load.reductions),
                *(
                    Hypothesis(estimate=change.relative.shifted(1.0, "ratio"), null=1.0)
                    for change in cost.changes
                ),
            ]
        )
    )
    sure_faster = replace(
        faster,
        end_to_end=tuple(replace(row, decided=next(words)) for row in faster.end_to_end),
        kinds=tuple(replace(row, decided=next(words)) for row in faster.kinds),
        operations=tuple(replace(row, decided=next(words)) for row in faster.operations),
    )
    sure_load = replace(
        load, reductions=tuple(replace(row, decided=next(words)) for row in load.reductions)
    )
    sure_cost = replace(
        cost, changes=tuple(replace(one, decided=next(words)) for one in cost.changes)
    )
    sure: dict[type[object], object] = {
        Faster: sure_faster, DatabaseLoad: sure_load, Cost: sure_cost
    }  # fmt: skip
    return tuple(sure.get(type(one), one) for one in answers)


def _without_totals(load: DatabaseLoad, faster: Faster) -> DatabaseLoad:
    """The load without the reductions of arms whose mix of requests is not the baseline's."""
    why = {one.arm: one.sentence for one in faster.unlike}
    return replace(
        load,
        reductions=tuple(
            replace(
                row,
                factor=nothing("ratio", why[row.arm], n=row.factor.n),
                saved_per_request=nothing("per_request", why[row.arm], n=row.factor.n),
            )
            if row.arm in why
            else row
            for row in load.reductions
        ),
    )
