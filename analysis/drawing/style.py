"""One look for all figures: colours, sizes and axes, and the way to SVG and PNG.

Arms carry colour (Okabe and Ito's, safe for colour-blind readers), everything else is grey. Every
colour has a role; in an SVG meant for a page the role becomes a CSS variable, so that the page's
theme colours the figure too. Text stays text: it is found by search, takes the page's font, and
costs few bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any, Final, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

INK: Final = "#1f2328"
MUTED: Final = "#636a72"
FAINT: Final = "#8d949b"
GRID: Final = "#e3e4e1"
SURFACE: Final = "#fefefe"
ALARM: Final = "#b3261e"

GREYS: Final = ("#c3c8cd", "#d0d4d8", "#dbdee1", "#e5e7e9", "#eef0f1")
"""Operations other than the cached one, the longest darkest."""

ARM_COLOURS: Final = (
    *("#d55e00", "#0072b2", "#009e73", "#cc79a7"),
    *("#b58900", "#5f4690", "#56b4e9", "#8c564b"),
)
"""The baseline arm first: every kind of colour vision tells vermilion from blue."""

ARM_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "h")
"""A second sign beside the colour, for print in grey."""

_ROLES: Final = {
    INK: "ink",
    MUTED: "muted",
    FAINT: "faint",
    GRID: "grid",
    SURFACE: "surface",
    ALARM: "alarm",
    **{colour: f"grey-{index}" for index, colour in enumerate(GREYS)},
    **{colour: f"arm-{index}" for index, colour in enumerate(ARM_COLOURS)},
}

WIDE_IN: Final = 7.8
"""Width of a figure on a desk screen, inches at 96 CSS pixels: the text column's 750."""

NARROW_IN: Final = 3.45
"""Width of a figure on a phone: 331 CSS pixels, a 360 pixel screen less its margins."""

TEXT_PT: Final = 9.0
SMALL_PT: Final = 8.0
TITLE_PT: Final = 11.5

PNG_DPI: Final = 160
"""Sharp on a dense screen and small enough for a README."""

_SETTINGS: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": TEXT_PT,
    "axes.unicode_minus": True,
    "path.simplify": True,
}


def canvas(height_in: float, *, narrow: bool = False, width_in: float | None = None) -> Figure:
    """Give an empty figure of the page's width, without touching any global state."""
    width = width_in or (NARROW_IN if narrow else WIDE_IN)
    figure = Figure(figsize=(width, height_in), facecolor=SURFACE)
    FigureCanvasAgg(figure)
    return figure


def quiet(axes: Axes, *, grid: Literal["x", "y"] | None = None) -> Axes:
    """Take everything from the axes that is no data: frame, ticks, black."""
    axes.set_facecolor("none")
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, colors=MUTED, labelsize=SMALL_PT, pad=4)
    axes.xaxis.label.set(color=MUTED, fontsize=SMALL_PT)
    axes.yaxis.label.set(color=MUTED, fontsize=SMALL_PT)
    axes.set_axisbelow(True)
    if grid is not None:
        axes.grid(visible=True, axis=grid, color=GRID, linewidth=0.8)
    return axes


def heading(axes: Axes, text: str) -> None:
    """Write in small what the vertical axis counts, over its left end."""
    axes.set_title(text, loc="left", fontsize=SMALL_PT, color=MUTED)


def beside(axes: Axes, y: float, text: str, *, colour: str = INK, bold: bool = False) -> None:
    """Write right of the axes, at a height of the vertical axis."""
    axes.text(
        1.03,
        y,
        text,
        transform=axes.get_yaxis_transform(),
        fontsize=SMALL_PT,
        color=colour,
        va="center",
        fontweight="bold" if bold else "normal",
    )


def arm_colour(position: int) -> str:
    """Colour of the arm at this position of the manifest's list, the baseline being 0."""
    return ARM_COLOURS[position % len(ARM_COLOURS)]


def arm_marker(position: int) -> str:
    """Marker of the arm at this position."""
    return ARM_MARKERS[position % len(ARM_MARKERS)]


NO_ARM: Final = "all requests"
"""What the only arm is called in a run that has none."""


def arm_label(arm: str) -> str:
    """The arm's own name; of a sweep's, ``on.popular=200``, what was swept."""
    if "=" in arm:
        return arm.partition(".")[2].replace("-", " ").replace("=", " ")
    return arm


def arm_key(arms: Sequence[str]) -> tuple[tuple[str, str, str], ...]:
    """Text, colour and marker of each arm, for a figure's key."""
    return tuple((arm_label(arm), arm_colour(at), arm_marker(at)) for at, arm in enumerate(arms))


def to_png(figure: Figure, *, dpi: int = PNG_DPI, above_in: float = 0.0) -> bytes:
    """Draw the figure as PNG on a white ground, with ``above_in`` inches above its upper edge."""
    buffer = io.BytesIO()
    width, height = figure.get_size_inches()
    whole = Bbox([[0, 0], [width, height + above_in]]) if above_in else None
    with mpl.rc_context(_SETTINGS):
        figure.savefig(
            buffer, format="png", dpi=dpi, metadata={"Software": None}, bbox_inches=whole
        )
    return buffer.getvalue()


def to_svg(figure: Figure, name: str) -> str:
    """Draw the figure as a stand-alone SVG; the same figure and name give the same bytes."""
    buffer = io.StringIO()
    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def page_svg(svg: str, name: str) -> str:
    """Turn a stand-alone SVG, as ``to_svg`` gives it, into one for inside a page.

    Its colours become CSS variables, its ids its own, its font the page's. The element is hidden
    from screen readers: the page puts a sentence and the table beside it.
    """
    text = svg[svg.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'(xlink:)?href="#', f'href="#{name}-', text)
    text = re.sub(r"'DejaVu Sans'(, [^;\"]*)?", "var(--font, sans-serif)", text)
    text = re.sub(r"#[0-9a-f]{6}\b", _as_variable, text)
    opening = re.match(r"<svg[^>]*>", text)
    view_box = re.search(r'viewBox="[^"]*"', opening.group(0) if opening else "")
    if opening is None or view_box is None:
        raise ValueError(f"Matplotlib wrote no viewBox for figure {name}.")
    namespaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    head = f'<svg {view_box.group(0)} {namespaces} aria-hidden="true" focusable="false">'
    return re.sub(r">\s+<", "><", head + text[opening.end() :])


def _as_variable(match: re.Match[str]) -> str:
    """The CSS variable of a role's colour; a colour without a role stays."""
    role = _ROLES.get(match.group(0))
    return f"var(--fig-{role}, {match.group(0)})" if role else match.group(0)
