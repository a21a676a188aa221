"""Where does one request's time go?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis import formatting
from analysis.figures import shares as shares_figure
from analysis.figures import style
from analysis.report.document import Drawing, Section, Table
from analysis.report.numbers import number, number_in
from analysis.report.setting import Setting
from analysis.report.tabulation import (
    Record,
    estimates,
    plain_numbers,
    sample_sizes,
    tabulate,
    words,
)

QUESTION = "Where does one request's time go?"

MAX_OPERATIONS = 14
"""The figure's rows; the table has all."""


def section(findings: Mapping[str, Any], setting: Setting) -> Section | None:
    """Each operation's share of the critical path by arm, emulated and measured apart."""
    shares = findings.get("shares") or {}
    rows = list(shares.get("rows") or ())
    if not rows:
        return None
    artificial = _emulated(findings)
    return Section(
        key="shares",
        question=QUESTION,
        answer=_answer(rows, setting),
        reading=(
            "A bar is the time that an operation itself holds a request up, averaged over "
            "requests;"
            " what runs meanwhile beside something longer does not count. The shares of one arm "
            "add"
            " up to 100 %."
        ),
        emulated=_said_of_emulation(findings, setting),
        sample=_sample(shares, setting),
        drawings=(_drawing(rows, artificial, setting),),
        tables=(_table(rows, artificial, setting),),
        notes=_notes(shares, setting),
    )


def _emulated(findings: Mapping[str, Any]) -> dict[tuple[Any, Any], Record]:
    """The emulated time by arm and operation; the operation None is the whole request."""
    rows = (findings.get("emulated") or {}).get("rows") or ()
    return {(row.get("arm"), row.get("operation")): row for row in rows}


def _answer(rows: list[Record], setting: Setting) -> str:
    """The longest operation, and the one in question, without the optimisation."""
    own = [row for row in rows if row.get("arm") == setting.baseline]
    longest = max(own or rows, key=lambda row: number_in(row, "share", "share").value or 0.0)
    share = number_in(longest, "share", "share")
    return f"Most of it, {share.text}, goes to {longest.get('operation')}."


def _said_of_emulation(findings: Mapping[str, Any], setting: Setting) -> str:
    """How much of a request's time was emulated, arm by arm."""
    artificial = _emulated(findings)
    parts = [
        f"{setting.label(arm)}: {formatting.plain(row.get('share'), 'share')} of the request's "
        "time"
        for (arm, operation), row in artificial.items()
        if operation is None
    ]
    if parts:
        return f"{'; '.join(parts)}. The rest is measured."
    return setting.emulated("No span says that any of its time was emulated.")


def _sample(shares: Mapping[str, Any], setting: Setting) -> str:
    """How many requests took how long."""
    parts = []
    for row in shares.get("requests") or ():
        mean = number(row.get("mean_ms"))
        parts.append(
            f"{setting.label(row.get('arm'))}: {formatting.count(mean.n)} requests of "
            f"{mean.text} in"
            f" {formatting.count(mean.blocks)} blocks"
        )
    return f"{'; '.join(parts)}. 95 % intervals from the spread between blocks." if parts else ""


def _drawing(
    rows: list[Record], artificial: Mapping[tuple[Any, Any], Record], setting: Setting
) -> Drawing:
    """The longest operations, the cached one always among them."""
    table = pd.DataFrame([_figure_row(row, artificial, setting) for row in rows])
    order = {arm: place for place, arm in enumerate(setting.arms)}
    table["place"] = table["arm"].map(order).fillna(0)
    table = table.sort_values("place", kind="stable")
    size = table.groupby("operation")["critical_ms"].max().sort_values(ascending=False)
    kept = [*size.index[:MAX_OPERATIONS], setting.cached_operation]
    table = table[table["operation"].isin(kept)]

    def draw(*, narrow: bool) -> Figure:
        return shares_figure.figure(table, narrow=narrow)

    said = "; ".join(
        f"{row.get('operation')}, {setting.label(row.get('arm'))}: "
        f"{number_in(row, 'share', 'share').text}"
        for row in rows
        if (number_in(row, "share", "share").value or 0.0) > 0
    )
    return Drawing(name="shares", alt=f"Share of a request's time. {said}.", draw=draw)


def _figure_row(
    row: Record, artificial: Mapping[tuple[Any, Any], Record], setting: Setting
) -> dict[str, Any]:
    """One bar; emulated time is the mean a span, as often as it occurs in a request."""
    share = number_in(row, "share", "share")
    marked = artificial.get((row.get("arm"), row.get("operation")), {})
    added = number(marked.get("emulated_ms")).value
    per_request = number(row.get("per_request")).value or 0.0
    return {
        "arm": row.get("arm") or style.NO_ARM,
        "operation": row.get("operation"),
        "critical_ms": number(row.get("critical_ms")).value or 0.0,
        "emulated_ms": None if added is None else added * per_request,
        "share": share.value,
        "low": share.low,
        "high": share.high,
        "cached": row.get("operation") == setting.cached_operation,
    }


def _table(
    rows: list[Record], artificial: Mapping[tuple[Any, Any], Record], setting: Setting
) -> Table:
    """All operations, longest first."""
    order = {arm: place for place, arm in enumerate(setting.arms)}
    biggest: dict[Any, float] = {}
    for row in rows:
        size = number(row.get("critical_ms")).value or 0.0
        biggest[row.get("operation")] = max(size, biggest.get(row.get("operation"), 0.0))
    ordered = sorted(
        rows,
        key=lambda row: (
            -biggest[row.get("operation")],
            str(row.get("operation")),
            order.get(str(row.get("arm")), 99),
        ),
    )
    marked = [
        {
            **row,
            "emulated": artificial.get((row.get("arm"), row.get("operation")), {}).get("share"),
        }
        for row in ordered
    ]
    fields = (
        words("Operation", "operation", code=True),
        words("Arm", "arm"),
        estimates("Share", "share", "share"),
        plain_numbers("On the critical path", "critical_ms", "ms"),
        plain_numbers("Self time", "self_ms", "ms"),
        plain_numbers("Emulated", "emulated", "share"),
        plain_numbers("A request", "per_request"),
        sample_sizes("share", "Spans"),
    )
    return tabulate(marked, fields, "By operation; times are means a request")


def _notes(shares: Mapping[str, Any], setting: Setting) -> tuple[str, ...]:
    """How far another definition of the critical path would move the answer."""
    notes = []
    for row in shares.get("definitions") or ():
        moves = number(row.get("moves")).value
        if moves is not None:
            notes.append(
                f"{setting.label(row.get('arm'))}: under CRISP's definition of the critical path "
                "instead of"
                f" Jaeger's the share of {row.get('operation')} would move most, by"
                f" {formatting.plain(moves, 'share')} of a request."
            )
    return tuple(notes)
