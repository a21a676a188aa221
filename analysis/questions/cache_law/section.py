"""Is the measured reduction the one that the hit rate predicts?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.document import formatting
from analysis.document.document import Drawing, Section, Table
from analysis.document.numbers import number
from analysis.document.setting import Setting
from analysis.document.tabulation import (
    Record,
    estimates,
    plain_numbers,
    sample_sizes,
    tabulate,
    words,
)
from analysis.questions.cache_law import figure as law_figure
from analysis.questions.headline.answer import SET_WITHIN

QUESTION = "Is that the reduction the hit rate predicts?"

_ABOUT_TIME_TO_LIVE = (
    "A time to live of hours never runs out inside a run of minutes: what misses here are first"
    " touches. In production the hit rate follows from rate, keys and time to live."
)


def section(findings: Mapping[str, Any], setting: Setting) -> Section | None:
    """Measured against 1/(1 - h), what explains the rest, and why lookups missed."""
    law = findings.get("law") or {}
    every = _in_order(law.get("law"), setting)
    rows = _of(every, setting)
    if not rows:
        return None
    rates = (findings.get("load") or {}).get("hit_rates") or law.get("hit_rates")
    came_about = _how_it_came_about(findings.get("run") or {}, _of(rates, setting), setting)
    measured, predicted = number(rows[0].get("measured")), number(rows[0].get("predicted"))
    return Section(
        key="law",
        question=QUESTION,
        answer=(
            f"Measured {measured.text}, predicted {predicted.text}."
            f" {rows[0].get('sentence') or ''}{_of_all(every)}".rstrip()
        ),
        reading=(
            "The dashed line is the law: a cache that answers a share h of the lookups leaves"
            " 1 - h of the queries. A point is what was counted in the database with one arm."
        ),
        emulated=setting.emulated("Nothing of this: hits, misses and queries are counted."),
        sample=(
            f"{formatting.count(measured.n)} requests in both arms; 95 % intervals from the spread"
            " between blocks."
        ),
        drawings=_drawings(every, rates, setting),
        tables=_tables(law, every, _of(rates, setting), setting),
        notes=tuple(note for note in (came_about, _ABOUT_TIME_TO_LIVE) if note),
    )


def _how_it_came_about(run: Mapping[str, Any], rates: list[Record], setting: Setting) -> str:
    """That the load was told to make this hit rate, or which of its settings made it."""
    knobs = (run.get("knobs") or {}).get(setting.treatment) or {}
    cold = knobs.get("cold_fraction")
    hit = number(next((row.get("hit_rate") for row in rates if row.get("step") is None), None))
    if not knobs or not hit.is_known:
        return ""
    if cold and abs(1.0 - cold - (hit.value or 0.0)) <= SET_WITHIN:
        share = formatting.plain(cold, "share")
        return (
            f"The hit rate of {hit.point} was set, not found: the load was told that {share} of"
            " the arrivals ask for what nobody asked for before (cold_fraction). What follows from"
            " it was found."
        )
    told = ", ".join(f"{name} {value}" for name, value in knobs.items())
    return (
        f"The hit rate of {hit.point} follows from what the load was told ({told}), the arm's"
        " settings and the length of the run."
    )


def _of(records: Any, setting: Setting) -> list[Record]:  # noqa: ANN401 - findings are JSON
    """The treatment's rows."""
    return [row for row in records or () if row.get("arm") == setting.treatment]


def _in_order(records: Any, setting: Setting) -> list[Record]:  # noqa: ANN401 - findings are JSON
    """The treatment's row, then those of the other arms."""
    place = {arm: at for at, arm in enumerate(setting.arms)}
    rows = [row for row in records or () if row.get("arm") in place]
    return sorted(rows, key=lambda row: place[str(row.get("arm"))])


def _of_all(rows: list[Record]) -> str:
    """In how many arms the law was seen to hold, where there are several."""
    held = sum(row.get("decided") == "as predicted" for row in rows)
    return f" It was as predicted in {held} of {len(rows)} arms." if len(rows) > 1 else ""


def _drawings(rows: list[Record], rates: Any, setting: Setting) -> tuple[Drawing, ...]:  # noqa: ANN401 - findings are JSON
    """The line with a measured point an arm; only where both its coordinates are known."""
    hits = {row.get("arm"): row.get("hit_rate") for row in rates or () if row.get("step") is None}
    points, said = [], []
    for row in rows:
        hit, measured = number(hits.get(row.get("arm"))), number(row.get("measured"))
        if not hit.is_known or not measured.is_known:
            continue
        name = f"{setting.label(row.get('arm'))}: " if len(rows) > 1 else ""
        said.append(f"{name}at a hit rate of {hit.text} the queries were reduced {measured.text}")
        points.append(
            {
                "label": f"{name}{measured.point}",
                "hit_rate": hit.value,
                "hit_low": hit.low,
                "hit_high": hit.high,
                "reduction": measured.value,
                "low": measured.low,
                "high": measured.high,
            }
        )
    if not points:
        return ()
    table = pd.DataFrame(points)

    def draw(*, narrow: bool) -> Figure:
        return law_figure.figure(table, narrow=narrow)

    alt = f"{'; '.join(said)}. The line of the law runs beside."
    return (Drawing(name="law", alt=alt[0].upper() + alt[1:], draw=draw),)


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
