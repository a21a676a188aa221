"""Is the measured reduction the one that the hit rate predicts?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from matplotlib.figure import Figure

from analysis.document import estimates as written
from analysis.document import formatting
from analysis.document.document import Drawing, Section, Table
from analysis.document.setting import Setting
from analysis.document.tables import (
    COUNTED,
    SET,
    Field,
    estimates,
    exact,
    sample_sizes,
    tabulate,
    words,
)
from analysis.questions.cache_law import figure as law_figure
from analysis.questions.cache_law.answer import CacheLaw, ExplainedRow, LawRow, MissRow
from analysis.questions.cache_law.figure import Point
from analysis.questions.database_load.answer import DatabaseLoad, HitRateRow
from analysis.questions.findings import Findings
from analysis.questions.headline.answer import SET_WITHIN

QUESTION = "Is that the reduction the hit rate predicts?"

_ABOUT_TIME_TO_LIVE = (
    "A time to live of hours never runs out inside a run of minutes: what misses here are first"
    " touches. In production the hit rate follows from rate, keys and time to live."
)

Row = TypeVar("Row", bound=HitRateRow | ExplainedRow | MissRow)


def section(findings: Findings, setting: Setting) -> Section | None:
    """Measured against 1/(1 - h), what explains the rest, and why lookups missed."""
    found = findings.of(CacheLaw)
    place = {arm: at for at, arm in enumerate(setting.arms)}
    every = sorted((row for row in found.law if row.arm in place), key=lambda row: place[row.arm])
    own = next((row for row in every if row.arm == setting.treatment), None)
    if own is None:
        return None
    rates = findings.of(DatabaseLoad).hit_rates
    came_about = _how_it_came_about(findings, rates, setting)
    return Section(
        key="law",
        question=QUESTION,
        answer=(
            f"Measured {written.said(own.measured)}, predicted {written.said(own.predicted)}."
            f" {own.sentence}{_of_all(every)}"
        ),
        reading=(
            "The dashed line is the law: a cache that answers a share h of the lookups leaves"
            " 1 - h of the queries. A point is what was counted in the database with one arm."
        ),
        emulated=setting.emulated("Nothing of this: hits, misses and queries are counted."),
        sample=(
            f"{formatting.count(own.measured.n)} requests in both arms; 95 % intervals from the"
            " spread between blocks."
        ),
        drawings=_drawings(every, rates, setting),
        tables=(_law_table(every), *_tables(found, rates, setting)),
        notes=tuple(
            note for note in (came_about, _ABOUT_TIME_TO_LIVE, found.causes_unknown) if note
        ),
    )


def _how_it_came_about(findings: Findings, rates: Sequence[HitRateRow], setting: Setting) -> str:
    """That the load was told to make this hit rate, or which of its settings made it."""
    knobs = findings.run.knobs.get(setting.treatment or "", {})
    hit = next((row.hit_rate for row in _of(rates, setting) if row.step is None), None)
    if not knobs or hit is None or hit.value is None:
        return ""
    cold = knobs.get("cold_fraction")
    if isinstance(cold, int | float) and cold and abs(1.0 - cold - hit.value) <= SET_WITHIN:
        share = formatting.plain(cold, "share")
        return (
            f"The hit rate of {written.said_point(hit)} was set, not found: the load was told that"
            f" {share} of the arrivals ask for what nobody asked for before (cold_fraction). What"
            " follows from it was found."
        )
    told = ", ".join(f"{name} {value}" for name, value in knobs.items())
    return (
        f"The hit rate of {written.said_point(hit)} follows from what the load was told ({told}),"
        " the arm's settings and the length of the run."
    )


def _of(rows: Sequence[Row], setting: Setting) -> list[Row]:
    """The treatment's rows."""
    return [row for row in rows if row.arm == setting.treatment]


def _of_all(rows: list[LawRow]) -> str:
    """In how many arms the law was seen to hold, where there are several."""
    held = sum(row.decided == "as predicted" for row in rows)
    return f" It was as predicted in {held} of {len(rows)} arms." if len(rows) > 1 else ""


def _drawings(
    rows: list[LawRow], rates: Sequence[HitRateRow], setting: Setting
) -> tuple[Drawing, ...]:
    """The line with a measured point per arm; only where both its coordinates are known."""
    hits = {row.arm: row.hit_rate for row in rates if row.step is None}
    points, said = [], []
    for row in rows:
        hit, measured = hits.get(row.arm), row.measured
        if hit is None or not hit.is_known or not measured.is_known:
            continue
        name = f"{setting.label(row.arm)}: " if len(rows) > 1 else ""
        said.append(
            f"{name}at a hit rate of {written.said(hit)} the queries were reduced"
            f" {written.said(measured)}"
        )
        label = f"{name}{written.point(measured)}"
        points.append(Point(label=label, hit_rate=hit, reduction=measured))
    if not points:
        return ()

    def draw(*, narrow: bool) -> Figure:
        return law_figure.figure(points, narrow=narrow)

    alt = f"{'; '.join(said)}. The line of the law runs beside."
    return (Drawing(name="law", alt=alt[0].upper() + alt[1:], draw=draw),)


def _law_table(rows: list[LawRow]) -> Table:
    fields: tuple[Field[LawRow], ...] = (
        words("Arm", lambda row: row.arm),
        estimates("Measured", lambda row: row.measured),
        estimates("Predicted", lambda row: row.predicted),
        estimates("Off by", lambda row: row.residual),
        words("Decided", lambda row: row.decided),
        sample_sizes(lambda row: row.measured, "Requests"),
    )
    return tabulate(rows, fields, "Measured against predicted")


def _tables(found: CacheLaw, rates: Sequence[HitRateRow], setting: Setting) -> Iterator[Table]:
    """The treatment's hit rate by step, what explains the rest, why lookups missed."""
    if own := _of(rates, setting):
        by_step: tuple[Field[HitRateRow], ...] = (
            exact("Step (none: all)", lambda row: row.step, why=SET),
            estimates("Hit rate", lambda row: row.hit_rate),
            estimates("Predicts", lambda row: row.predicted_factor),
            exact("Lookups", lambda row: row.lookups, why=COUNTED, sample=True),
        )
        yield tabulate(own, by_step, "Hit rate by step")
    if explained := [row for row in _of(found.explained, setting) if row.count]:
        whats: tuple[Field[ExplainedRow], ...] = (
            words("What", lambda row: row.what),
            exact("Count", lambda row: row.count, why=COUNTED, sample=True),
            exact("Per lookup", lambda row: row.per_lookup, why=COUNTED),
            exact(
                "Moves the factor by",
                lambda row: row.moves,
                "ratio",
                why="follows from the count beside it",
            ),
        )
        yield tabulate(explained, whats, "What else moves it, counted (no interval)")
    if misses := _of(found.misses, setting):
        causes: tuple[Field[MissRow], ...] = (
            words("Cause", lambda row: row.cause),
            exact("Misses", lambda row: row.count, why=COUNTED, sample=True),
            estimates("Share", lambda row: row.share),
        )
        yield tabulate(misses, causes, "Why lookups missed")
