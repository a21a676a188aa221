"""Did it get faster?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.document import formatting
from analysis.document.document import Drawing, Section, Table
from analysis.document.numbers import Number, inverse, number
from analysis.document.setting import Setting
from analysis.document.tabulation import estimates, sample_sizes, tabulate, words
from analysis.questions.failures.section import lacking
from analysis.questions.faster import figure as faster_figure

QUESTION = "Did it get faster?"

_SHOWN_STATISTICS = ("mean", "p50", "p95", "p99")


def section(findings: Mapping[str, Any], setting: Setting) -> Section | None:
    """The cached operation by hits, misses and mixture.

    The whole request by mean and percentiles.
    """
    faster = findings.get("faster") or {}
    operations = [
        row for row in faster.get("operations") or () if row.get("arm") == setting.treatment
    ]
    whole = [row for row in faster.get("end_to_end") or () if row.get("arm") == setting.treatment]
    if not operations and not whole:
        return None
    requests = _over_all_steps(whole)
    return Section(
        key="faster",
        question=QUESTION,
        answer=_answer(operations, requests, setting),
        reading=(
            "Above, how many times faster an operation is than in the other arm, hits and misses"
            " apart, since their mixture is two populations. Below, how much longer the whole"
            " request takes. Grey means that the interval includes no difference."
        ),
        emulated=setting.emulated(
            "The durations are those of the profile: what was emulated cannot get faster, and "
            "was the"
            " same in both arms for each pair of requests."
        ),
        sample=_sample(requests, operations),
        drawings=(_drawing(operations, requests, setting),),
        tables=(*_request_table(requests), *_operation_table(operations, setting)),
        notes=(*_reasons(requests), *lacking((requests or [{}])[0])),
    )


def _over_all_steps(whole: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Response time over all rates, in the usual order of statistics."""
    rows = [row for row in whole if row.get("step") is None and row.get("time") == "response"]
    known = {str(row.get("statistic")): row for row in rows}
    return [known[name] for name in _SHOWN_STATISTICS if name in known]


def _answer(
    operations: list[Mapping[str, Any]], requests: list[Mapping[str, Any]], setting: Setting
) -> str:
    """The operation: so many times. The request: so many milliseconds, or not decided."""
    parts = []
    for row in operations:
        if row.get("operation") == setting.cached_operation and row.get("which") in {
            "mixture",
            "all",
        }:
            ratio, before, after = (number(row.get(key)) for key in ("ratio", "before", "after"))
            if ratio.is_known:
                parts.append(
                    f"{setting.cached_operation} takes {after.point} instead of {before.point}:"
                    f" {_times(ratio)}, hits and misses together."
                )
    mean = next((row for row in requests if row.get("statistic") == "mean"), None)
    if mean is not None:
        parts.append(_said_of_mean(mean))
    return " ".join(parts) or "There is nothing to hold against each other."


def _times(ratio: Number) -> str:
    """So many times faster; or slower, where the ratio is below 1."""
    return f"{ratio.text} faster" if (ratio.value or 0.0) >= 1 else f"{inverse(ratio).text} slower"


def _said_of_mean(row: Mapping[str, Any]) -> str:
    """The whole request in one sentence."""
    difference, relative = number(row.get("difference")), number(row.get("relative"))
    if not difference.is_known:
        return f"The whole request: {difference.reason or 'not known'}."
    if not difference.has_interval:
        return f"The whole request: {difference.text}; {difference.reason or 'not decided'}."
    if (difference.low or 0.0) <= 0.0 <= (difference.high or 0.0):
        return f"The whole request: no difference could be decided ({difference.text})."
    word = "shorter" if (difference.value or 0.0) < 0 else "longer"
    return (
        f"The whole request is {word} by {_flipped(difference).text}, "
        f"{_flipped(relative).text} of it."
    )


def _flipped(estimate: Number) -> Number:
    """Without its sign, for sentences that say the direction in words."""
    if (estimate.value or 0.0) >= 0:
        return estimate
    ends = [None if end is None else -end for end in (estimate.value, estimate.high, estimate.low)]
    return Number(
        value=ends[0],
        low=ends[1],
        high=ends[2],
        unit=estimate.unit,
        n=estimate.n,
        blocks=estimate.blocks,
    )


def _sample(requests: list[Mapping[str, Any]], operations: list[Mapping[str, Any]]) -> str:
    """On how much the intervals rest."""
    estimate = number((requests or [{}])[0].get("difference"))
    if not estimate.n:
        estimate = number((operations or [{}])[0].get("ratio"))
    return (
        f"{formatting.count(estimate.n)} requests with their partner of the same draw in"
        f" {formatting.count(estimate.blocks)} pairs of blocks; 95 % intervals over pairs of "
        "blocks."
    )


def _drawing(
    operations: list[Mapping[str, Any]], requests: list[Mapping[str, Any]], setting: Setting
) -> Drawing:
    """Ratios of the cached operation, differences of the request."""
    chosen = [row for row in operations if row.get("operation") == setting.cached_operation]
    ratios = _comparisons(
        [(f"{row['operation']}, {row.get('which')}", row.get("ratio")) for row in chosen],
        no_difference=1.0,
        more_is="faster",
        strong=("mixture", "all"),
    )
    differences = _comparisons(
        [(str(row.get("statistic")), row.get("difference")) for row in requests],
        no_difference=0.0,
        more_is="slower",
        strong=("mean",),
    )

    def draw(*, narrow: bool) -> Figure:
        return faster_figure.figure(ratios, differences, narrow=narrow)

    said = "; ".join([*_spoken(ratios, "ratio"), *_spoken(differences, "ms")])
    return Drawing(
        name="faster", alt=f"What got faster, and the whole request. {said}.", draw=draw
    )


def _spoken(table: pd.DataFrame, unit: str) -> list[str]:
    """The figure's rows in words."""
    values = zip(table["label"], table["value"], table["low"], table["high"], strict=True)
    return [
        f"{label}: {formatting.estimate(value, low, high, unit)}"
        for label, value, low, high in values
    ]


def _comparisons(
    named: list[tuple[str, Any]], *, no_difference: float, more_is: str, strong: tuple[str, ...]
) -> pd.DataFrame:
    """Rows for the figure, those with a value only."""
    less_is = "slower" if more_is == "faster" else "faster"
    rows = []
    for label, cell in named:
        estimate = number(cell)
        if not estimate.is_known:
            continue
        decision = "not decided"
        if estimate.low is not None and estimate.low > no_difference:
            decision = more_is
        elif estimate.high is not None and estimate.high < no_difference:
            decision = less_is
        is_strong = label.endswith(strong)
        rows.append((label, estimate.value, estimate.low, estimate.high, decision, is_strong))
    return pd.DataFrame(rows, columns=["label", "value", "low", "high", "decision", "strong"])


def _request_table(requests: list[Mapping[str, Any]]) -> tuple[Table, ...]:
    """Mean and percentiles of the whole request."""
    fields = (
        words("Response time", "statistic"),
        estimates("Without", "before"),
        estimates("With", "after"),
        estimates("Difference", "difference"),
        estimates("Relative", "relative"),
        words("Decided", "decided"),
        sample_sizes("difference"),
    )
    return (
        (tabulate(requests, fields, "The whole request, from the intended send"),)
        if requests
        else ()
    )


def _operation_table(operations: list[Mapping[str, Any]], setting: Setting) -> tuple[Table, ...]:
    """Every operation, the cached one first."""
    rows = sorted(
        operations,
        key=lambda row: (
            row.get("operation") != setting.cached_operation,
            str(row.get("operation")),
        ),
    )
    fields = (
        words("Operation", "operation", code=True),
        words("Which", "which"),
        estimates("Mean without", "before"),
        estimates("Mean with", "after"),
        estimates("Times faster", "ratio"),
        sample_sizes("ratio", "Spans"),
    )
    return (tabulate(rows, fields, "By operation, mean durations"),) if rows else ()


def _reasons(requests: list[Mapping[str, Any]]) -> tuple[str, ...]:
    """Why a percentile has no interval."""
    reasons = [
        f"{row.get('statistic')}: {reason}"
        for row in requests
        if (reason := number(row.get("difference")).reason)
    ]
    return (f"No interval for {'; '.join(reasons)}.",) if reasons else ()
