"""Is the measured reduction the one that the hit rate predicts?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis import formatting
from analysis.figures import law as law_figure
from analysis.report.document import Drawing, Section, Table
from analysis.report.numbers import number
from analysis.report.setting import Setting
from analysis.report.tabulation import (
    Record,
    estimates,
    plain_numbers,
    sample_sizes,
    tabulate,
    words,
)

QUESTION = "Is that the reduction the hit rate predicts?"

_ABOUT_TIME_TO_LIVE = (
    "A time to live of hours never runs out inside a run of minutes: what misses here are first"
    " touches. In production the hit rate follows from rate, keys and time to live."
)


def section(findings: Mapping[str, Any], setting: Setting) -> Section | None:
    """Measured against 1/(1 - h), what explains the rest, and why lookups missed."""
    law = findings.get("law") or {}
    rows = _of(law.get("law"), setting)
    if not rows:
        return None
    rates = _of((findings.get("load") or {}).get("hit_rates") or law.get("hit_rates"), setting)
    measured, predicted = number(rows[0].get("measured")), number(rows[0].get("predicted"))
    return Section(
        key="law",
        question=QUESTION,
        answer=(
            f"Measured {measured.text}, predicted {predicted.text}."
            f" {rows[0].get('sentence') or ''}".rstrip()
        ),
        reading=(
            "The dashed line is the law: a cache that answers a share h of the lookups leaves"
            " 1 - h of the queries. The point is what was counted in the database."
        ),
        emulated=setting.emulated("Nothing of this: hits, misses and queries are counted."),
        sample=(
            f"{formatting.count(measured.n)} requests in both arms; 95 % intervals from the spread"
            " between blocks."
        ),
        drawings=_drawings(rows, rates),
        tables=_tables(law, rows, rates, setting),
        notes=(_ABOUT_TIME_TO_LIVE,),
    )


def _of(records: Any, setting: Setting) -> list[Record]:  # noqa: ANN401 - findings are JSON
    """The treatment's rows."""
    return [row for row in records or () if row.get("arm") == setting.treatment]


def _drawings(rows: list[Record], rates: list[Record]) -> tuple[Drawing, ...]:
    """The curve with the measured point; only where both its coordinates are known."""
    hit = next((number(row.get("hit_rate")) for row in rates if row.get("step") is None), None)
    measured = number(rows[0].get("measured"))
    if hit is None or not hit.is_known or not measured.is_known:
        return ()
    table = pd.DataFrame(
        [
            {
                "label": measured.point,
                "hit_rate": hit.value,
                "hit_low": hit.low,
                "hit_high": hit.high,
                "reduction": measured.value,
                "low": measured.low,
                "high": measured.high,
            }
        ]
    )

    def draw(*, narrow: bool) -> Figure:
        return law_figure.figure(table, narrow=narrow)

    alt = (
        f"At a hit rate of {hit.text} the queries were reduced {measured.text}; the law's "
        "curve runs beside it."
    )
    return (Drawing(name="law", alt=alt, draw=draw),)


def _tables(
    law: Mapping[str, Any], rows: list[Record], rates: list[Record], setting: Setting
) -> tuple[Table, ...]:
    """The law, the hit rate by step, what explains the rest, why lookups missed."""
    tables = [
        tabulate(
            rows,
            (
                words("Arm", "arm"),
                estimates("Measured", "measured"),
                estimates("Predicted", "predicted"),
                estimates("Off by", "residual"),
                words("Decided", "decided"),
                sample_sizes("measured", "Requests"),
            ),
            "Measured against predicted",
        )
    ]
    if rates:
        fields = (
            plain_numbers("Step (none: all)", "step"),
            estimates("Hit rate", "hit_rate"),
            estimates("Predicts", "predicted_factor"),
            plain_numbers("Lookups", "lookups"),
        )
        tables.append(tabulate(rates, fields, "Hit rate by step"))
    return (*tables, *_explanations(law, setting))


def _explanations(law: Mapping[str, Any], setting: Setting) -> list[Table]:
    """What departs from the law, counted, and the causes of misses."""
    tables = []
    explained = [row for row in _of(law.get("explained"), setting) if row.get("count")]
    if explained:
        fields = (
            words("What", "what"),
            plain_numbers("Count", "count"),
            plain_numbers("A lookup", "per_lookup"),
            plain_numbers("Moves the factor by", "moves", "ratio"),
        )
        tables.append(tabulate(explained, fields, "What else moves it, counted (no interval)"))
    misses = _of(law.get("misses"), setting)
    if misses:
        causes = (
            words("Cause", "cause"),
            plain_numbers("Misses", "count"),
            estimates("Share", "share"),
        )
        tables.append(tabulate(misses, causes, "Why lookups missed"))
    return tables
