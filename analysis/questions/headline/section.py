"""The headline figure's tables and words, from the findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.document import formatting
from analysis.document.document import Drawing
from analysis.document.numbers import Number, number
from analysis.document.setting import Setting
from analysis.document.tabulation import Record
from analysis.drawing import style
from analysis.questions.headline import figure as headline_figure

MAX_STAGES = 3
"""Stages shown by name besides the cached operation; the rest is one segment."""

REST = "everything else"


def drawing(findings: Mapping[str, Any], setting: Setting) -> Drawing | None:
    """Give the headline figure; None when the run has no stages or no rates to draw."""
    shares = _stages(findings, setting)
    load = _load(findings, setting)
    if shares.empty or load.empty:
        return None
    words = _words(findings, shares, load, setting)

    bare = replace(words, note=())

    def draw(*, narrow: bool) -> Figure:
        return headline_figure.figure(shares, load, bare, narrow=narrow)

    def alone(*, narrow: bool) -> Figure:
        return headline_figure.figure(shares, load, words, narrow=narrow)

    alt = _alt(shares, load, words, setting)
    return Drawing(name="headline", alt=alt, draw=draw, alone=alone, caption=words.note)


def _stages(findings: Mapping[str, Any], setting: Setting) -> pd.DataFrame:
    """Stages by arm: the cached one, the longest, and what is left over as one."""
    found = findings.get("shares") or {}
    rows = [row for row in found.get("stages") or () if number(row.get("share")).is_known]
    chosen = {*setting.shown, style.NO_ARM}
    table = pd.DataFrame([_stage(row, setting) for row in rows])
    if not table.empty:
        table = table[table["arm"].isin(chosen)].reset_index(drop=True)
    if table.empty:
        return table
    longest = table[~table["cached"]].groupby("operation")["share"].max().nlargest(MAX_STAGES)
    table["named"] = table["cached"] | table["operation"].isin(longest.index)
    took = {
        row.get("arm") or style.NO_ARM: number(row.get("mean_ms")).value
        for row in found.get("requests") or ()
    }
    parts = []
    for arm in [arm for arm in (*setting.shown, style.NO_ARM) if (table["arm"] == arm).any()]:
        own = table[table["arm"] == arm].sort_values("share", ascending=False)
        rest = 1.0 - float(own.loc[own["named"], "share"].sum())
        part = own[own["named"]]
        if rest > 0:
            left = {"arm": arm, "operation": REST, "share": rest, "cached": False}
            part = pd.concat([part, pd.DataFrame([left])], ignore_index=True)
        parts.append(part.assign(request_ms=took.get(arm)))
    return pd.concat(parts, ignore_index=True).drop(columns="named")


def _stage(row: Record, setting: Setting) -> dict[str, Any]:
    share = number(row.get("share"))
    return {
        "arm": row.get("arm") or style.NO_ARM,
        "operation": _called(str(row.get("operation"))),
        "share": share.value,
        "low": share.low,
        "high": share.high,
        "cached": row.get("operation") == setting.cached_operation,
    }


def _called(operation: str) -> str:
    """The operation as people know it: OpenTelemetry calls a model's span ``chat {model}``."""
    return f"LLM ({operation})" if operation.startswith("chat ") else operation


def _load(findings: Mapping[str, Any], setting: Setting) -> pd.DataFrame:
    """Queries per second by rate: measured in each arm, and predicted for the treatment."""
    load = findings.get("load") or {}
    collection = setting.cached_collection
    rows = [
        _point(row, str(row.get("arm") or style.NO_ARM), "per_s")
        for row in load.get("by_step") or ()
        if row.get("collection") == collection
        and (row.get("arm") is None or row.get("arm") in setting.shown)
    ]
    rows += [
        _point(row, "predicted", "per_s")
        for row in load.get("predicted") or ()
        if row.get("collection") == collection and row.get("arm") == setting.treatment
    ]
    columns = ["series", "rate_per_s", "queries_per_s", "low", "high"]
    table = pd.DataFrame(rows, columns=columns)
    return table.dropna(subset=["rate_per_s", "queries_per_s"])


def _point(row: Record, series: str, column: str) -> tuple[Any, ...]:
    queries = number(row.get(column))
    return (series, row.get("offered_per_s"), queries.value, queries.low, queries.high)


def _words(
    findings: Mapping[str, Any], shares: pd.DataFrame, load: pd.DataFrame, setting: Setting
) -> headline_figure.Words:
    """Titles that say what the panels show, and the note under them."""
    del load
    factor = _factor(findings, setting.cached_collection, setting)
    own = shares[shares["cached"] & (shares["arm"] == setting.baseline)]
    left = "Where one request's time goes"
    if not own.empty:
        share, low, high = (_maybe(own[key].iloc[0]) for key in ("share", "low", "high"))
        text = formatting.brief(share, low, high, "share")
        left = f"{setting.cached_operation} is {text} of a request"
    fewer = _is_fewer(factor)
    what = f"queries of {setting.cached_collection}" if setting.cached_collection else "queries"
    right = f"{_times(factor)} fewer {what}" if fewer else f"{what.capitalize()} per second"
    return headline_figure.Words(
        left=left,
        right=right,
        gap=f"{_times(factor)}\nfewer" if fewer else "",
        queries="queries per second, at the database",
        note=_note(findings, setting, factor),
    )


def _note(findings: Mapping[str, Any], setting: Setting, factor: Number) -> tuple[str, ...]:
    """N and intervals; what was emulated; what all queries together come to."""
    requests = [
        number(row.get("mean_ms"))
        for row in (findings.get("shares") or {}).get("requests") or ()
        if row.get("arm") is None or row.get("arm") in setting.shown
    ]
    counted = " and ".join(formatting.count(one.n) for one in requests)
    sizes = dict.fromkeys(one.blocks for one in requests)
    blocks = " and ".join(formatting.count(size) for size in sizes)
    how = "Whiskers and brackets: 95 % intervals between blocks."
    lines = [f"{counted} requests in {blocks} blocks an arm. {how}"]
    left_out = len(setting.arms) - len(setting.shown)
    if left_out:
        lines.append(f"{left_out} more arms are in the tables, and in the figure of the law.")
    emulated = [
        row
        for row in (findings.get("emulated") or {}).get("rows") or ()
        if row.get("operation") is None and row.get("arm") == setting.baseline
    ]
    if emulated:
        share = formatting.plain(emulated[0].get("share"), "share")
        lines.append(
            f"{share} of a request's time is emulated (profile {setting.profile}); queries and "
            "hits are real."
        )
    whole = _factor(findings, None, setting)
    if setting.cached_collection and _is_fewer(whole) and _is_fewer(factor):
        lines.append(
            f"{factor.text} fewer of these queries; {whole.text} fewer of all queries that a "
            "request makes."
        )
    return tuple(lines)


def _factor(findings: Mapping[str, Any], collection: str | None, setting: Setting) -> Number:
    """The reduction factor over all rates."""
    for row in (findings.get("load") or {}).get("reductions") or ():
        mine = row.get("arm") == setting.treatment and row.get("step") is None
        if mine and row.get("collection") == collection:
            return number(row.get("factor"))
    return Number()


def _is_fewer(factor: Number) -> bool:
    """Whether the queries became fewer: decidedly, where there is an interval."""
    if factor.low is None:
        return factor.is_known and (factor.value or 0.0) > 1.0
    return factor.low > 1.0


def _times(factor: Number) -> str:
    """The factor as short as a title wants it."""
    return formatting.brief(factor.value, factor.low, factor.high, factor.unit)


def _alt(
    shares: pd.DataFrame, load: pd.DataFrame, words: headline_figure.Words, setting: Setting
) -> str:
    """Both panels in words."""
    parts = [f"{words.left}. {words.right}."]
    for _, row in shares.iterrows():
        said = _estimate(row, "share", "share")
        if row["operation"] == REST:
            said = formatting.plain(row["share"], "share")
        parts.append(f"{setting.label(row['arm'])}: {row['operation']} {said}.")
    for _, row in load.iterrows():
        said = _estimate(row, "queries_per_s", "per_s")
        at = f"{row['rate_per_s']:g} requests per second"
        parts.append(f"{setting.label(row['series'])} at {at}: {said}.")
    return " ".join(parts)


def _estimate(row: pd.Series[Any], column: str, unit: str) -> str:
    """A row's value with its interval."""
    value, low, high = (_maybe(row[key]) for key in (column, "low", "high"))
    return formatting.estimate(value, low, high, unit)


def _maybe(cell: object) -> float | None:
    """A cell as a number or None."""
    return None if pd.isna(cell) else float(cell)  # type: ignore[call-overload, arg-type] # a cell is a scalar
