"""Does the database work less?"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import TypeVar

from matplotlib.figure import Figure

from analysis.document import estimates as written
from analysis.document import formatting
from analysis.document.document import Drawing, Section, Table
from analysis.document.setting import Setting
from analysis.document.tables import (
    COUNTED,
    OBSERVED,
    SET,
    Field,
    abreast,
    estimates,
    exact,
    fits_abreast,
    of_first,
    per_arm,
    sample_sizes,
    tabulate,
    words,
)
from analysis.drawing import style
from analysis.questions.database_load import figure as load_figure
from analysis.questions.database_load.answer import (
    DatabaseLoad,
    LoadRow,
    PoolWaitRow,
    ReductionRow,
    StatementRow,
)
from analysis.questions.database_load.figure import Mark
from analysis.questions.findings import Findings
from analysis.stats.family import NOT_DECIDED
from analysis.stats.intervals import Estimate

QUESTION = "Does the database work less?"

Row = TypeVar("Row", bound=LoadRow | StatementRow)


def section(findings: Findings, setting: Setting) -> Section | None:
    """Queries per request by statement and arm, per second by rate, and how many times fewer."""
    load = findings.of(DatabaseLoad)
    if not load.statements:
        return None
    whole, cached = (_reduction(load, name, setting) for name in (None, setting.cached_collection))
    sizes = [(row.arm, row.per_request) for row in load.statements]
    return Section(
        key="load",
        question=QUESTION,
        answer=_answer(whole, cached, setting),
        reading=(
            "Each dot is how often a statement is sent for one request. Connecting, transactions"
            " and cursor fetches are no queries."
        ),
        emulated=setting.emulated(
            "The number of queries is real; how long each held its connection was topped up to the"
            " profile."
        ),
        sample=f"{written.size(sizes, 'blocks', setting.label)}.",
        drawings=(_drawing(load.statements, whole, setting),),
        tables=(_by_statement(load.statements, setting), *_by_rate(load, setting), *_waits(load)),
    )


def _reduction(
    load: DatabaseLoad, collection: str | None, setting: Setting
) -> ReductionRow | None:
    """The treatment's row over all steps for one collection."""
    found = (
        row
        for row in load.reductions
        if row.step is None and row.collection == collection and row.arm == setting.treatment
    )
    return next(found, None)


def _answer(whole: ReductionRow | None, cached: ReductionRow | None, setting: Setting) -> str:
    """How many times fewer, for the statement in question and for all."""
    parts = []
    named = ((cached, setting.cached_collection),) if setting.cached_collection else ()
    for row, name in (*named, (whole, None)):
        if row is None or not row.before.is_known or not row.after.is_known:
            continue
        what = f"Queries of {name}" if name else "All queries together"
        parts.append(
            f"{what}: {written.said_point(row.before)} per request in"
            f" {setting.label(setting.baseline)}, {written.said_point(row.after)} in"
            f" {setting.label(setting.treatment)}{_fewer(row)}."
        )
    return " ".join(parts) or "There is one arm only, so nothing is compared."


def _fewer(row: ReductionRow) -> str:
    """So many times fewer; or more, where the factor is below 1."""
    factor = row.factor
    if factor.has_interval and row.decided == NOT_DECIDED and factor.low != factor.high:
        return f", no difference decided ({written.less(factor, 'fewer')})"
    if not factor.is_known and not factor.is_bound:
        return ""
    return f", {written.less(factor, 'fewer')}"


_ALL = "all queries"


def _drawing(
    statements: Sequence[StatementRow], whole: ReductionRow | None, setting: Setting
) -> Drawing:
    """Statements as rows, that of the cached collection first; all queries together the last."""
    marks = [
        Mark(
            arm=row.arm or style.NO_ARM,
            statement=row.statement,
            per_request=row.per_request,
            cached=row.collection is not None and row.collection == setting.cached_collection,
        )
        for row in statements
        if row.arm in {*setting.shown, None}
    ]
    marks += _not_sent(marks, setting)
    if whole is not None:
        marks += [
            Mark(arm=arm, statement=_ALL, per_request=total, cached=False)
            for arm, total in ((setting.baseline, whole.before), (setting.treatment, whole.after))
            if arm is not None and total.is_known
        ]
    arms = [arm for arm in (*setting.arms, style.NO_ARM) if any(mark.arm == arm for mark in marks)]
    most: dict[str, float] = {}
    for mark in marks:
        most[mark.statement] = max(mark.per_request.value or 0.0, most.get(mark.statement, 0.0))
    marks.sort(
        key=lambda mark: (
            mark.statement == _ALL,
            not mark.cached,
            -most[mark.statement],
            mark.statement,
            arms.index(mark.arm),
        )
    )

    def draw(*, narrow: bool) -> Figure:
        return load_figure.figure(marks, arms, narrow=narrow)

    said = "; ".join(
        f"{mark.statement} {mark.arm}: {formatting.plain(mark.per_request.value)}"
        for mark in marks
    )
    return Drawing(name="load", alt=f"Queries per request by statement. {said}.", draw=draw)


def _not_sent(marks: Sequence[Mark], setting: Setting) -> list[Mark]:
    """A statement that one arm alone sends: the other sends none, and is drawn so."""
    sent = {(mark.arm, mark.statement): mark for mark in marks}
    none = Estimate(value=0.0, unit="per_request", n=0, blocks=0, reason="none was sent")
    return [
        replace(mark, arm=arm, per_request=none)
        for statement, mark in {mark.statement: mark for mark in marks}.items()
        for arm in setting.shown
        if (arm, statement) not in sent
    ]


def _by_statement(statements: Sequence[StatementRow], setting: Setting) -> Table:
    """One row per statement, the arms side by side."""
    statement: Field[StatementRow] = words("Statement", lambda row: row.statement, code=True)
    fields: tuple[Field[StatementRow], ...] = (
        estimates("Per request", lambda row: row.per_request),
        estimates("Mean time", lambda row: row.mean_ms),
        sample_sizes(lambda row: row.mean_ms, "Queries"),
    )
    rows = sorted(statements, key=lambda row: row.statement)
    return _side_by_side(
        rows,
        lambda row: row.statement,
        (statement,),
        fields,
        arms=setting.columns,
        caption="By statement, over all rates",
    )


def _by_rate(load: DatabaseLoad, setting: Setting) -> tuple[Table, ...]:
    """One row per rate, for the cached collection and for all queries, with the prediction."""
    wanted = {None, setting.cached_collection}
    rows = sorted(
        (row for row in load.by_step if row.collection in wanted),
        key=lambda row: (row.collection or "", row.step),
    )
    if not rows:
        return ()
    predicted: dict[tuple[str | None, int, str | None], Estimate] = {
        (row.arm, row.step, row.collection): row.per_s for row in load.predicted
    }
    about: tuple[Field[LoadRow], ...] = (
        words("Table", lambda row: row.collection, missing="all"),
        exact("Offered", lambda row: row.offered_per_s, "per_s", why=SET),
    )
    fields: tuple[Field[LoadRow], ...] = (
        estimates("Queries per second", lambda row: row.per_s),
        estimates("Predicted", lambda row: predicted.get((row.arm, row.step, row.collection))),
        estimates("Busy connections", lambda row: row.busy_connections),
        sample_sizes(lambda row: row.per_s, "Requests"),
    )
    return (
        _side_by_side(
            rows,
            lambda row: (row.collection, row.step),
            about,
            fields,
            arms=setting.columns,
            caption="By offered rate",
        ),
    )


def _side_by_side(
    rows: Sequence[Row],
    key: Callable[[Row], Hashable],
    about: tuple[Field[Row], ...],
    fields: tuple[Field[Row], ...],
    *,
    arms: Sequence[tuple[str | None, str]],
    caption: str,
) -> Table:
    """The arms side by side where they fit, else below each other."""
    if not fits_abreast(arms):
        arm: Field[Row] = words("Arm", lambda row: row.arm)
        return tabulate(rows, (*about, arm, *fields), caption)
    lines = abreast(rows, key, lambda row: row.arm)
    columns = [column for field in fields for column in per_arm(field, arms)]
    return tabulate(lines, (*map(of_first, about), *columns), caption)


def _waits(load: DatabaseLoad) -> tuple[Table, ...]:
    """Waiting for a connection, as the pool counted it."""
    fields: tuple[Field[PoolWaitRow], ...] = (
        words("Arm", lambda row: row.arm),
        exact("Waits", lambda row: row.waits, why=COUNTED, sample=True),
        estimates("Mean wait", lambda row: row.wait_ms),
        estimates("Waited over 1 ms", lambda row: row.waited_share),
        exact("Longest", lambda row: row.longest_ms, "ms", why=OBSERVED),
    )
    caption = "Waiting for a connection, before the query began"
    return (tabulate(load.pool_waits, fields, caption),) if load.pool_waits else ()
