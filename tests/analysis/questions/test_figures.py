"""Figures: a table in, a Figure out; what must be visible in each."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis.drawing import dots, labels, style
from analysis.questions.cache_law import figure as law
from analysis.questions.capacity import figure as capacity
from analysis.questions.ceiling import figure as ceiling
from analysis.questions.cost import figure as cost
from analysis.questions.cost.answer import CostRow
from analysis.questions.database_load import figure as load
from analysis.questions.database_load.figure import Mark
from analysis.questions.detectability import figure as detectability
from analysis.questions.equivalence import figure as equivalence
from analysis.questions.faster import figure as faster
from analysis.questions.faster.figure import Comparison
from analysis.questions.headline import figure as headline
from analysis.questions.headline.load_panel import Line, Point
from analysis.questions.headline.request_panel import Bar, Segment
from analysis.questions.shares import figure as shares
from analysis.questions.single_traces import figure as waterfall
from analysis.questions.timeline import figure as timeline
from analysis.questions.worth_caching import figure as worth_caching
from analysis.questions.worth_caching.answer import CandidateRow
from analysis.stats.intervals import Estimate
from tests.support.runs.report_findings import estimate

SOURCES = Path(style.__file__).parents[1] / "questions"


def _words() -> headline.Words:
    return headline.Words(
        left="lookup is 0.30 % of a request",
        right="20× fewer queries",
        gap="20×\nfewer",
        queries="queries per second",
        note=("1200 requests an arm.",),
    )


def _around(value: float, unit: str) -> Estimate:
    """An estimate with a tenth to either side."""
    low, high = sorted((value * 0.9, value * 1.1))
    return estimate(value, low, high, unit)


def _bar(arm: str, lookup: float) -> Bar:
    named = (("lookup", lookup), ("llm", 0.8), ("memory", 0.1), ("rest", 0.1 - lookup))
    return Bar(
        arm=arm,
        request_ms=3000.0,
        segments=tuple(
            Segment(operation=name, share=_around(share, "share"), cached=name == "lookup")
            for name, share in named
        ),
    )


def _line(arm: str, each: float) -> Line:
    return Line(
        arm=arm,
        points=tuple(
            Point(rate_per_s=rate, queries=_around(rate * each, "per_s")) for rate in (10.0, 20.0)
        ),
    )


def _headline(*, narrow: bool = False) -> Figure:
    shown = headline.Shown(
        bars=(_bar("off", 0.003), _bar("on", 0.0004)),
        measured=(_line("off", 1.0), _line("on", 0.05)),
        predicted=_line("predicted", 0.048),
    )
    return headline.figure(shown, _words(), narrow=narrow)


def _bars(operation: str = "llm") -> list[shares.Bar]:
    return [
        shares.Bar(
            arm=arm,
            operation=operation,
            critical_ms=2400.0,
            emulated_ms=emulated_ms,
            share=Estimate(value=0.8, unit="share", n=1200, blocks=12, low=low, high=high),
            cached=False,
        )
        for arm, emulated_ms, low, high in (("off", 2000.0, 0.79, 0.81), ("on", None, None, None))
    ]


def _estimate(
    value: float, low: float | None = None, high: float | None = None, unit: str = "ms"
) -> Estimate:
    return Estimate(value=value, unit=unit, n=1200, blocks=12, low=low, high=high)


def _compared(value: float, unit: str) -> list[Comparison]:
    """Two lines of what got faster, the second without interval."""
    return [
        Comparison(label="mean", estimate=_around(value, unit), decision="faster", strong=True),
        Comparison(
            label="p99",
            estimate=estimate(value * 6.5, unit=unit),
            decision="not decided",
            strong=False,
        ),
    ]


def _every_figure(*, narrow: bool) -> dict[str, Figure]:
    """One of each, from the smallest table that it can draw."""
    statements = [
        Mark(
            arm=arm,
            statement="SELECT a",
            per_request=Estimate(
                value=value, unit="per_request", n=9, blocks=9, low=low, high=high
            ),
            cached=True,
        )
        for arm, value, low, high in (("off", 1.0, None, None), ("on", 0.05, 0.04, 0.06))
    ]
    points = [
        law.Point(
            label="20×",
            hit_rate=Estimate(value=0.95, unit="share", n=9, blocks=9, low=0.94, high=0.96),
            reduction=Estimate(value=20.0, unit="ratio", n=9, blocks=9, low=18.0, high=22.0),
        )
    ]
    latency = [
        capacity.point_of("off", 10.0, _estimate(3000.0, 2900.0, 3100.0)),
        capacity.point_of("off", 20.0, _estimate(3100.0)),
    ]
    queries = [
        capacity.point_of("off", 10.0, _estimate(10.0, 9.0, 11.0, "per_s")),
        capacity.point_of("off", 1000.0, _estimate(1e3, 900.0, 1100.0, "per_s"), measured=False),
    ]
    candidates = [
        CandidateRow(
            service="chat",
            operation="preferences",
            share=Estimate(value=0.02, unit="share", n=9, blocks=9),
            saves_at_most_ms=Estimate(value=70.0, unit="ms", n=9, blocks=9, low=66.0, high=74.0),
            queries_per_request=1.0,
            reads_per_request=1.0,
            keys=2,
            lookups=20,
            hit_ratios={"60": 0.9},
            best_hit_ratio=0.9,
            saves_queries_per_request=0.9,
            saves_at_best_ms=63.0,
            cached=False,
            sentence="",
        )
    ]
    needed = [detectability.Needed(label="0.2 %", unpaired=353200, paired=15, had=1200)]
    changes = [equivalence.Change(what="mean", estimate=_estimate(0.001, -0.007, 0.005, "share"))]
    parts = [
        ceiling.Most(operation="llm", share=_estimate(0.8, 0.79, 0.81, "share"), strong=False),
        ceiling.Most(operation="lookup", share=_estimate(0.003, unit="share"), strong=True),
    ]
    series = pd.DataFrame(
        {
            "series": ["rate", "cpu"],
            "arm": ["off", None],
            "t_s": [0.5, 0.5],
            "value": [10.0, 40.0],
            "n": [10, 1],
        }
    )
    blocks = pd.DataFrame({"arm": ["off"], "start_s": [0.0], "end_s": [4.0], "warmup": [False]})
    events = pd.DataFrame({"t_s": [2.0], "label": ["cache flushed"]})
    tree = pd.DataFrame(
        {
            "span_id": ["a", "b"],
            "name": ["POST /chat", "lookup"],
            "depth": [0, 1],
            "start_ms": [0.0, 1.0],
            "duration_ms": [100.0, 7.0],
        }
    )
    path = pd.DataFrame({"span_id": ["a"], "start_ms": [8.0], "end_ms": [100.0]})
    costs = [
        CostRow(
            resource="service_cpu",
            arm=arm,
            step=None,
            per_request=_estimate(value, value - 0.5, value + 0.5),
            idle_per_s=None,
        )
        for arm, value in (("off", 4.8), ("on", 4.9))
    ]
    return {
        "cost": cost.figure(
            costs, {"service_cpu": "CPU of the service"}, ("off", "on"), narrow=narrow
        ),
        "headline": _headline(narrow=narrow),
        "shares": shares.figure(_bars(), narrow=narrow),
        "load": load.figure(statements, ("off", "on"), narrow=narrow),
        "faster": faster.figure(_compared(6.0, "ratio"), _compared(-6.0, "ms"), narrow=narrow),
        "law": law.figure(points, narrow=narrow),
        "capacity": capacity.figure(latency, queries, narrow=narrow),
        "worth_caching": worth_caching.figure(candidates, narrow=narrow),
        "detectability": detectability.figure(needed, narrow=narrow),
        "ceiling": ceiling.figure(parts, narrow=narrow),
        "equivalence": equivalence.figure(changes, (-0.01, 0.01), narrow=narrow),
        "timeline": timeline.figure(series, blocks, events, ("off",), narrow=narrow),
        "waterfall": waterfall.figure(tree, path, strong="lookup", narrow=narrow),
    }


def _texts(figure: Figure) -> list[Text]:
    """Every text that is drawn; ticks beyond the axis are not."""
    figure.draw_without_rendering()
    found = [*figure.texts]
    for axes in figure.axes:
        found += [*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label]
        found += [axes.title if axes.get_title() else getattr(axes, "_left_title")]  # noqa: B009 - no getter
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            found += [
                tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high
            ]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


@pytest.fixture(name="figures", scope="module", params=[False, True], ids=["wide", "narrow"])
def _figures(request: pytest.FixtureRequest) -> dict[str, Figure]:
    return _every_figure(narrow=request.param)


_QUESTION_OF = {"law": "cache_law", "load": "database_load", "waterfall": "single_traces"}
"""Figures whose question has another name."""


def test_there_is_a_try_of_every_figure() -> None:
    """Each module of a question that draws a figure is drawn here."""
    drawing = {
        path.parent.name
        for path in SOURCES.glob("*/figure.py")
        if re.search(r"^def figure\(", path.read_text(), re.MULTILINE)
    }

    # that of many runs is drawn in tests/worthit/cli/test_history.py
    assert drawing - {"history"} == {
        _QUESTION_OF.get(name, name) for name in _every_figure(narrow=False)
    }


def test_no_figure_touches_pyplot() -> None:
    """No figure module imports matplotlib.pyplot, whose global state two reports would share."""
    assert [
        path.name
        for path in SOURCES.glob("*/figure.py")
        if "pyplot" in path.read_text() and path.name != "__init__.py"
    ] == []


def test_no_text_leaves_its_figure(figures: dict[str, Figure]) -> None:
    """Every word of every figure lies inside the picture, at both widths."""
    outside = []
    for name, figure in figures.items():
        width, height = figure.get_size_inches() * figure.dpi
        for text in _texts(figure):
            box = text.get_window_extent()
            if box.x0 < -1 or box.x1 > width + 1 or box.y0 < -1 or box.y1 > height + 1:
                outside.append((name, text.get_text()))

    assert outside == []


def test_drawing_changes_no_setting_of_matplotlib() -> None:
    """Drawing and writing leave matplotlib's global settings as they were."""
    before = dict(mpl.rcParams)
    style.to_svg(_headline(), "x")
    style.to_png(_headline())

    assert dict(mpl.rcParams) == before


def test_the_cached_operation_is_drawn_as_small_as_it_is() -> None:
    """In the bar its width is its share; only the lens, with a scale of its own, is enlarged."""
    bars, lens, _ = _headline().axes
    in_bar = [patch.get_width() for patch in bars.patches if patch.get_facecolor() == _rgba(0)]
    in_lens = [
        patch.get_width() / lens.get_xlim()[1]
        for patch in lens.patches
        if patch.get_facecolor() == _rgba(0)
    ]

    assert bars.get_xlim() == (0.0, 1.0)
    assert in_bar == pytest.approx([0.003])
    assert in_lens == pytest.approx([0.003 / 0.01])
    assert any("enlarged 100 times" in text.get_text() for text in lens.texts)


def test_the_bars_of_an_arm_add_up_to_the_request() -> None:
    """The segments of each arm's bar fill it."""
    bars = _headline().axes[0]
    rows: dict[float, float] = {}
    for patch in bars.patches:
        rows[patch.get_y()] = rows.get(patch.get_y(), 0.0) + patch.get_width()

    assert list(rows.values()) == pytest.approx([1.0, 1.0])


def test_the_load_axis_begins_at_nothing() -> None:
    """Queries per second are drawn from 0, so that 20 times fewer looks like 20 times fewer."""
    lines = _headline().axes[2]

    assert lines.get_ylim()[0] == 0.0
    assert lines.get_xlim()[0] == 0.0


def test_a_point_without_interval_has_no_whisker() -> None:
    """An estimate with a null interval is one mark and says so in words."""
    figure = faster.figure([], _compared(-6.0, "ms"))
    said = [text.get_text() for text in _texts(figure)]

    assert [text for text in said if "no interval" in text] == ["−39\u202fms (no interval)"]


def test_svg_is_deterministic_and_stands_alone() -> None:
    """The same figure gives the same bytes, twice, and refers to nothing outside."""
    first, second = (style.to_svg(_headline(), "headline") for _ in range(2))

    assert first == second
    assert re.findall(r'(?:href|src)="(?!#)[^"]*"', first) == []


def test_page_svg_takes_colours_and_font_from_the_page() -> None:
    """Every colour of ours is a CSS variable, ids carry the figure's name.

    The font is the page's.
    """
    text = style.page_svg(style.to_svg(_headline(), "head"), "head")
    root = ET.fromstring(text)  # noqa: S314 - our own figure
    ids = {element.get("id") for element in root.iter() if element.get("id")}

    assert set(re.findall(r"(?<!, )#[0-9a-f]{6}", text)) <= {
        "#000000",
        "#ffffff",
    }
    assert all(str(name).startswith("head-") for name in ids)
    assert "DejaVu" not in text
    assert root.get("aria-hidden") == "true"


def test_texts_of_a_run_cannot_break_the_svg() -> None:
    """A span named like markup is text in the figure."""
    bars = _bars("<script>alert(1)</script> & co")
    text = style.page_svg(style.to_svg(shares.figure(bars), "x"), "x")

    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_arms_differ_in_lightness_too() -> None:
    """The first two arms' colours are told apart without hue: by lightness or by their marker."""
    assert style.arm_marker(0) != style.arm_marker(1)
    assert len({style.arm_colour(position) for position in range(6)}) == 6


def test_labels_are_pushed_apart_upwards() -> None:
    """Labels that would overlap stand one above the other, the others where they want."""
    assert labels.spread([1.0, 1.1, 5.0], [1.0, 1.0, 1.0]) == pytest.approx([1.0, 2.0, 5.0])


def test_rows_of_nothing_still_draw() -> None:
    """A panel whose rows hold no dot gives an empty axis and no error."""
    panel = dots.Panel(rows=(dots.Row(label="nothing", dots=()),), axis="x")

    assert dots.figure([panel]).axes


def _rgba(position: int) -> tuple[float, float, float, float]:
    from matplotlib.colors import to_rgba  # noqa: PLC0415 - beside its one use

    return to_rgba(style.arm_colour(position))


def test_on_a_phone_no_line_crosses_a_rows_words() -> None:
    """The line of no difference leaves out where name and result of a row stand."""
    dot = dots.Dot(value=0.8, low=0.7, high=0.9, colour=style.INK, marker="o")
    rows = tuple(dots.Row(label="Time", dots=(dot,), result="3.67 s → 3.66 s") for _ in range(3))
    figure = dots.figure([dots.Panel(rows=rows, axis="x", reference=1.0)], narrow=True)
    figure.canvas.draw()
    (axes,) = figure.axes
    words = [text.get_window_extent() for text in axes.texts]
    lines = [line.get_window_extent() for line in axes.lines if {*line.get_xdata()} == {1.0}]

    assert len(lines) == len(rows)
    assert not any(line.y0 < one.y1 and one.y0 < line.y1 for line in lines for one in words)
