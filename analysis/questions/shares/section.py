"""Where does one request's time go?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.document import formatting
from analysis.document.document import Drawing, Section, Table
from analysis.document.numbers import number
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
from analysis.drawing import style
from analysis.questions.shares import figure as shares_figure

QUESTION = "Where does one request's time go?"

MAX_STAGES = 10
"""The figure's rows; the table has all."""


def section(findings: Mapping[str, Any], setting: Setting) -> Section | None:
    """Each stage's share of a request by arm, emulated and measured apart.

    Then each operation's.
    """
    shares = findings.get("shares") or {}
    stages, rows = list(shares.get("stages") or ()), list(shares.get("rows") or ())
    if not stages:
        return None
    return Section(
        key="shares",
        question=QUESTION,
        answer=_answer(stages, setting),
        reading=(
            "A bar is the time for which a stage, with all that runs inside it, holds a request "
            "up;"
            " what runs meanwhile beside something longer does not count. The shares of one arm "
            "add"
            " up to 100 %."
        ),
        emulated=_said_of_emulation(findings, setting),
        sample=_sample(shares, setting),
        drawings=(_drawing(stages, _emulated(findings, "stages"), shares, setting),),
        tables=(
            _stage_table(stages, _emulated(findings, "stages"), setting),
            _operation_table(rows, _emulated(findings, "rows"), setting),
        ),
        notes=_notes(shares, setting),
    )


def _emulated(findings: Mapping[str, Any], what: str) -> dict[tuple[Any, Any], Record]:
    """The emulated time by arm and stage or operation; the operation None is the whole request."""
    rows = (findings.get("emulated") or {}).get(what) or ()
    return {(row.get("arm"), row.get("operation")): row for row in rows}


def _answer(stages: list[Record], setting: Setting) -> str:
    """The longest stage, and the one in question with and without the optimisation."""
    own = [row for row in stages if row.get("arm") == setting.baseline] or stages
    longest = max(own, key=lambda row: number(row.get("share")).value or 0.0)
    parts = [
        f"Most of it, {number(longest.get('share')).text}, goes to {longest.get('operation')}."
    ]
    cached = {
        row.get("arm"): number(row.get("share")).text
        for row in stages
        if row.get("operation") == setting.cached_operation
    }
    if cached:
        said = ", ".join(f"{share} with {setting.label(arm)}" for arm, share in cached.items())
        parts.append(f"{setting.cached_operation} is {said}.")
    return " ".join(parts)


def _said_of_emulation(findings: Mapping[str, Any], setting: Setting) -> str:
    """How much of a request's time was emulated, arm by arm."""
    artificial = _emulated(findings, "rows")
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
    stages: list[Record],
    artificial: Mapping[tuple[Any, Any], Record],
    shares: Mapping[str, Any],
    setting: Setting,
) -> Drawing:
    """The longest stages, the cached one always among them."""
    requests = {
        row.get("arm"): number(row.get("mean_ms")).n for row in shares.get("requests") or ()
    }
    drawn = [row for row in stages if row.get("arm") in {*setting.shown, None}]
    table = pd.DataFrame([_bar(row, artificial, requests, setting) for row in drawn])
    order = {arm: place for place, arm in enumerate(setting.arms)}
    table["place"] = table["arm"].map(order).fillna(0)
    table = table.sort_values("place", kind="stable")
    size = table.groupby("operation")["critical_ms"].max().sort_values(ascending=False)
    kept = [*size.index[:MAX_STAGES], setting.cached_operation]
    table = table[table["operation"].isin(kept)]

    def draw(*, narrow: bool) -> Figure:
        return shares_figure.figure(table, narrow=narrow)

    said = "; ".join(
        f"{row.get('operation')}, {setting.label(row.get('arm'))}: {number(row.get('share')).text}"
        for row in stages
    )
    return Drawing(name="shares", alt=f"Share of a request's time by stage. {said}.", draw=draw)


def _bar(
    row: Record,
    artificial: Mapping[tuple[Any, Any], Record],
    requests: Mapping[Any, int],
    setting: Setting,
) -> dict[str, Any]:
    """One bar; emulated time is the mean a marked span, as often as one occurs in a request."""
    share = number(row.get("share"))
    marked = artificial.get((row.get("arm"), row.get("operation")), {})
    added, spans = number(marked.get("emulated_ms")).value, number(marked.get("spans")).value
    count = requests.get(row.get("arm")) or 0
    return {
        "arm": row.get("arm") or style.NO_ARM,
        "operation": row.get("operation"),
        "critical_ms": number(row.get("critical_ms")).value or 0.0,
        "emulated_ms": added * spans / count if added and spans and count else None,
        "share": share.value,
        "low": share.low,
        "high": share.high,
        "cached": row.get("operation") == setting.cached_operation,
    }


def _stage_table(
    stages: list[Record], artificial: Mapping[tuple[Any, Any], Record], setting: Setting
) -> Table:
    """A row a stage, longest first, the arms side by side."""
    caption = "By stage, with all that runs inside; times are means a request"
    return _table("Stage", _marked(stages, artificial, setting), caption, setting)


def _operation_table(
    rows: list[Record], artificial: Mapping[tuple[Any, Any], Record], setting: Setting
) -> Table:
    """A row an operation, longest first: each without what runs inside it."""
    caption = "By operation, without what runs inside; times are means a request"
    return _table("Operation", _marked(rows, artificial, setting), caption, setting)


def _table(name: str, rows: list[Record], caption: str, setting: Setting) -> Table:
    """Share, time, emulated part, n; the arms side by side where they fit."""
    first = words(name, "operation", code=True)
    joined, abreast_ = by_arm(rows, ("operation",), setting.columns)
    if not abreast_:
        fields = (words("Arm", "arm"), *(make(label, key) for make, label, key in _COLUMNS))
        return tabulate(rows, (first, *fields), caption)
    columns = [abreast(make, label, key, setting.columns) for make, label, key in _COLUMNS]
    return tabulate(joined, (first, *(field for group in columns for field in group)), caption)


def _milliseconds(label: str, key: str) -> Field:
    return plain_numbers(label, key, "ms")


def _percent(label: str, key: str) -> Field:
    return plain_numbers(label, key, "share")


def _spans(label: str, key: str) -> Field:
    return sample_sizes(key, label)


_COLUMNS: tuple[tuple[Callable[[str, str], Field], str, str], ...] = (
    (estimates, "Share", "share"),
    (_milliseconds, "Time", "critical_ms"),
    (_percent, "Emulated", "emulated"),
    (_spans, "Spans", "share"),
)
"""What a row says of each arm: how to write it, its heading, where it is found."""


def _marked(
    rows: list[Record], artificial: Mapping[tuple[Any, Any], Record], setting: Setting
) -> list[Record]:
    """The rows with their emulated share, longest operation first, arms in their order."""
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
            order.get(str(row.get("arm")), len(order)),
        ),
    )
    return [
        {
            **row,
            "emulated": artificial.get((row.get("arm"), row.get("operation")), {}).get("share"),
        }
        for row in ordered
    ]


def _notes(shares: Mapping[str, Any], setting: Setting) -> tuple[str, ...]:
    """How far another definition of the critical path would move the answer."""
    rows = [row for row in shares.get("definitions") or () if row.get("moves") is not None]
    if rows and all(row["moves"] == 0 for row in rows):
        return (
            "CRISP's definition of the critical path gives exactly the same shares as Jaeger's.",
        )
    return tuple(
        f"{setting.label(row.get('arm'))}: under CRISP's definition of the critical path instead "
        "of"
        f" Jaeger's the share of {row.get('operation')} would move most, by"
        f" {formatting.plain(row['moves'], 'share')} of a request."
        for row in rows
    )
