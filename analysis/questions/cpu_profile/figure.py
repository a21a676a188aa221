"""Flame graphs: who calls whom from top to bottom, as wide as the CPU that was burnt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.document import formatting
from analysis.drawing import style
from analysis.questions.cpu_profile.answer import LEAST_DRAWN, Node

_ROW_IN: Final = 0.19
_MOST_ROWS: Final = 24
"""Deeper calls are left out: they burn little each, and the tables name what burns much."""

_SAME: Final = 0.97
"""A call that burns nearly all of its caller's CPU is drawn in its place, one box for both."""

_LETTER_IN: Final = 0.068
"""About the width of a letter in small print."""

_LEAST_CHANGE: Final = 0.05
"""Of both arms' CPU together: what moved less is drawn grey."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One rectangle: from left to right in ms per request, and how deep."""

    node: int
    depth: int
    left: float
    width: float


def boxes(nodes: Sequence[Node], width_of: Callable[[Node], float]) -> list[Box]:
    """Lay the tree out; children stand side by side below their caller, the widest first."""
    below: dict[int | None, list[int]] = defaultdict(list)
    for number, node in enumerate(nodes):
        below[node.parent].append(number)
    widths = [width_of(node) for node in nodes]
    least = LEAST_DRAWN * sum(widths[number] for number in below[None])
    found: list[Box] = []
    waiting: list[tuple[int | None, int, float]] = [(None, 0, 0.0)]
    while waiting:
        parent, depth, left = waiting.pop()
        for child in sorted(below[parent], key=lambda number: (-widths[number], number)):
            width = widths[child]
            if width >= least > 0 and depth < _MOST_ROWS:
                last = _end_of_chain(child, below, widths)
                found.append(Box(node=last, depth=depth, left=left, width=width))
                waiting.append((last, depth + 1, left))
            left += width
    return found


def _end_of_chain(node: int, below: dict[int | None, list[int]], widths: Sequence[float]) -> int:
    """Follow calls that burn nearly all that their caller does."""
    while below[node]:
        widest = max(below[node], key=lambda number: widths[number])
        if widths[widest] < _SAME * widths[node]:
            return node
        node = widest
    return node


def of_arm(nodes: Sequence[Node], arm: str, *, narrow: bool = False) -> Figure:
    """One arm's flame graph."""
    found = boxes(nodes, lambda node: node.cpu_ms[arm])

    def look(box: Box) -> tuple[str, float, str]:
        name, cpu = _name(nodes[box.node]), nodes[box.node].cpu_ms[arm]
        grey = style.GREYS[box.depth % len(style.GREYS)]
        return grey, 1.0, f"{name} {formatting.plain(cpu, 'ms')}"

    return _draw(found, look, narrow=narrow)


def of_difference(
    nodes: Sequence[Node], before: str, after: str, arms: Sequence[str], *, narrow: bool = False
) -> Figure:
    """Both arms in one: as wide as both burn together, in the colour of who burns more."""
    found = boxes(nodes, lambda node: node.cpu_ms[before] + node.cpu_ms[after])

    def look(box: Box) -> tuple[str, float, str]:
        node = nodes[box.node]
        one, two = node.cpu_ms[before], node.cpu_ms[after]
        change = (two - one) / (one + two)
        more = after if change > 0 else before
        words = f"{_name(node)} {formatting.plain(one, 'ms')} → {formatting.plain(two, 'ms')}"
        if abs(change) < _LEAST_CHANGE:
            return style.GREYS[-2], 1.0, words
        return style.arm_colour(arms.index(more)), 0.15 + 0.55 * abs(change), words

    return _draw(found, look, narrow=narrow)


def _name(node: Node) -> str:
    """``Pool.getconn (psycopg_pool/pool.py:174)`` without where it stands."""
    return node.function.partition(" (")[0]


def _draw(
    found: Sequence[Box], look: Callable[[Box], tuple[str, float, str]], *, narrow: bool
) -> Figure:
    depth = max((box.depth for box in found), default=0) + 1
    figure = style.canvas(depth * _ROW_IN + 0.1, narrow=narrow)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    right = max((box.left + box.width for box in found), default=1.0)
    axes.set(xlim=(0, right), ylim=(depth, 0))
    axes.axis("off")
    letters = figure.get_figwidth() / right / _LETTER_IN
    for box in found:
        _add(axes, box, *look(box), room=int(box.width * letters) - 1)
    return figure


def _add(axes: Axes, box: Box, colour: str, alpha: float, text: str, *, room: int) -> None:
    axes.add_patch(
        Rectangle(
            (box.left, box.depth),
            box.width,
            1,
            facecolor=colour,
            alpha=alpha,
            edgecolor=style.SURFACE,
            linewidth=0.8,
        )
    )
    if room < len("read"):
        return
    short = text if len(text) <= room else f"{text[: room - 1]}…"
    at = (box.left, box.depth + 0.5)
    axes.annotate(
        short,
        at,
        xytext=(3, 0),
        textcoords="offset points",
        va="center",
        fontsize=style.SMALL_PT,
        color=style.INK,
    )
