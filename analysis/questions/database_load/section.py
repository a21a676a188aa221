"""Does the database work less?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.document import formatting
from analysis.document.document import Drawing, Section, Table
from analysis.document.numbers import Number, frame, inverse, number
from analysis.document.setting import Setting
from analysis.document.tabulation import (
    Field,
    Record,
    abreast,
    by_arm,
    estimates,
    plain_numbers,
    sample_sizes,
    tabulate,
    words,
)
from analysis.questions.database_load import figure as load_figure

QUESTION = "Does the database work less?"


def section(findings: Mapping[str, Any], setting: Setting) -> Section | None:
    """Queries per request by statement and arm, per second by rate, and how many times fewer."""
    load = findings.get("load") or {}
    statements = list(load.get("statements") or ())
    if not statements:
        return None
    whole, cached = (_reduction(load, name, setting) for name in (None, setting.cached_collection))
    return Section(
        key="load",
        question=QUESTION,
        answer=_answer(whole, cached, setting),
        reading=(
            "Each dot is how often a statement is sent for one request; where the arms differ, the"
            " optimisation took queries from the database. Connecting, cursor fetches and cache"
            " calls are counted apart."
        ),
        emulated=setting.emulated(
            "The number of queries is real; how long each held its connection was topped up to the"
            " profile."
        ),
        sample=_sample(statements),
        drawings=(_drawing(statements, whole, setting),),
        tables=(_by_statement(statements, setting), *_by_rate(load, setting), *_waits(load)),
    )


def _reduction(
    load: Mapping[str, Any], collection: str | None, setting: Setting
) -> Mapping[str, Any]:
    """The treatment's row over all steps for one collection; empty when there is none."""
    rows = load.get("reductions") or ()
    found = (
        row
        for row in rows
        if row.get("step") is None
        and row.get("collection") == collection
        and row.get("arm") == setting.treatment
    )
    return next(found, {})


def _answer(whole: Mapping[str, Any], cached: Mapping[str, Any], setting: Setting) -> str:
    """How many times fewer, for the statement in question and for all."""
    parts = []
    for row, name in ((cached, setting.cached_collection), (whole, None)):
        factor = number(row.get("factor"))
        before, after = number(row.get("before")), number(row.get("after"))
        if not before.is_known or not after.is_known:
            continue
        what = f"Queries of the table {name}" if name else "All queries together"
        parts.append(
            f"{what}: {before.point} a request with {setting.label(setting.baseline)},"
            f" {after.point} with {setting.label(setting.treatment)}{_fewer(factor)}."
        )
    return " ".join(parts) or "There is one arm only, so nothing is held against it."


def _fewer(factor: Number) -> str:
    """So many times fewer; or more, where the factor is below 1."""
    if not factor.is_known and not factor.is_bound:
        return ""
    if factor.is_known and (factor.value or 0.0) < 1:
        return f", {inverse(factor).text} more"
    return f", {factor.text} fewer"


def _sample(statements: list[Record]) -> str:
    """On how many requests and blocks the estimates rest."""
    first = number(statements[0].get("per_request"))
    return (
        f"{formatting.count(first.n)} requests an arm in {formatting.count(first.blocks)} blocks;"
        " 95 % intervals from the spread between blocks."
    )


def _drawing(statements: list[Record], whole: Mapping[str, Any], setting: Setting) -> Drawing:
    """Statements as rows, and all queries together as the last."""
    drawn = [row for row in statements if row.get("arm") in {*setting.shown, None}]
    table = frame(drawn, ("arm", "statement", "collection", "per_request"))
    table["cached"] = table["collection"] == setting.cached_collection
    rows = [table]
    for arm, side in ((setting.baseline, "before"), (setting.treatment, "after")):
        total = number(whole.get(side))
        if arm is not None and total.is_known:
            rows.append(pd.DataFrame([_total_row(arm, total)]))
    table = pd.concat(rows, ignore_index=True).rename(
        columns={"per_request_low": "low", "per_request_high": "high"}
    )
    order = {arm: place for place, arm in enumerate(setting.arms)}
    table = table.assign(place=table["arm"].map(order).fillna(len(order)))
    biggest = table.groupby("statement")["per_request"].transform("max")
    table = table.assign(total=table["statement"] == _ALL, size=-biggest)
    table = table.sort_values(
        ["total", "cached", "size", "statement", "place"],
        ascending=[True, False, True, True, True],
    )

    def draw(*, narrow: bool) -> Figure:
        return load_figure.figure(table, narrow=narrow)

    said = "; ".join(
        f"{row['statement']} {row['arm'] or ''}: {formatting.plain(row['per_request'])}"
        for _, row in table.iterrows()
    )
    return Drawing(name="load", alt=f"Queries a request by statement. {said}.", draw=draw)


_ALL = "all queries"


def _total_row(arm: str, total: Number) -> dict[str, Any]:
    return {
        "arm": arm,
        "statement": _ALL,
        "per_request": total.value,
        "per_request_low": total.low,
        "per_request_high": total.high,
        "cached": False,
    }


def _by_statement(statements: list[Record], setting: Setting) -> Table:
    """A row a statement, the arms side by side."""
    rows = sorted(statements, key=lambda row: str(row.get("statement")))
    columns: tuple[_Column, ...] = (
        (estimates, "A request", "per_request"),
        (estimates, "Mean time", "mean_ms"),
        (_sizes, "Queries", "mean_ms"),
    )
    first = (words("Statement", "statement", code=True),)
    return _joined(
        rows,
        ("statement",),
        first,
        columns,
        setting=setting,
        caption="By statement, over all rates",
    )


def _by_rate(load: Mapping[str, Any], setting: Setting) -> tuple[Table, ...]:
    """A row a rate, for the cached collection and for all queries, with the prediction."""
    wanted = {None, setting.cached_collection}
    rows = [row for row in load.get("by_step") or () if row.get("collection") in wanted]
    if not rows:
        return ()
    predicted = {
        (row.get("offered_per_s"), row.get("collection")): row.get("per_s")
        for row in load.get("predicted") or ()
        if row.get("arm") == setting.treatment
    }
    rows = [
        {**row, "predicted": predicted.get((row.get("offered_per_s"), row.get("collection")))}
        for row in rows
    ]
    rows.sort(
        key=lambda row: (str(row["collection"]), number(row.get("offered_per_s")).value or 0)
    )
    columns: tuple[_Column, ...] = (
        (estimates, "Queries a second", "per_s"),
        (estimates, "Busy connections", "busy_connections"),
        (_sizes, "Requests", "per_s"),
    )
    first = (
        words("Table", "collection", missing="all"),
        plain_numbers("Offered", "offered_per_s", "per_s"),
        estimates("Predicted", f"predicted@{setting.treatment}"),
    )
    key = ("collection", "offered_per_s")
    return (_joined(rows, key, first, columns, setting=setting, caption="By offered rate"),)


_Column = tuple[Callable[[str, str], Field], str, str]
"""How to write it, its heading, where it is found."""


def _sizes(label: str, key: str) -> Field:
    return sample_sizes(key, label)


def _joined(
    rows: list[Record],
    key: tuple[str, ...],
    first: tuple[Field, ...],
    columns: tuple[_Column, ...],
    *,
    setting: Setting,
    caption: str,
) -> Table:
    """The arms side by side where they fit, else below each other."""
    joined, is_joined = by_arm(rows, key, setting.columns)
    if not is_joined:
        fields = (
            *first,
            words("Arm", "arm"),
            *(make(label, name) for make, label, name in columns),
        )
        return tabulate(rows, fields, caption)
    groups = [abreast(make, label, name, setting.columns) for make, label, name in columns]
    return tabulate(joined, (*first, *(field for group in groups for field in group)), caption)


def _waits(load: Mapping[str, Any]) -> tuple[Table, ...]:
    """Waiting for a connection, as the pool counted it."""
    rows = [row for row in load.get("pool_waits") or () if row.get("waits") is not None]
    fields = (
        words("Arm", "arm"),
        plain_numbers("Waits", "waits"),
        estimates("Mean wait", "wait_ms"),
        estimates("Waited over 1 ms", "waited_share"),
        plain_numbers("Longest", "longest_ms", "ms"),
    )
    caption = "Waiting for a connection, before the query began"
    return (tabulate(rows, fields, caption),) if rows else ()
