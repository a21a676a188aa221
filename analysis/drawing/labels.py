"""Names that no other name, line or dot runs through: pushed apart, wrapped, cut."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence


def spread(
    wanted: Sequence[float], heights: Sequence[float], *, ceiling: float = math.inf
) -> list[float]:
    """Give each label the place it wants, or the nearest above that is free, in the order given.

    ``wanted`` are the middles, lowest first; ``heights`` the labels' own heights in the same unit.
    No label reaches above ``ceiling``; those below make room.
    """
    placed: list[float] = []
    floor = -math.inf
    for middle, height in zip(wanted, heights, strict=True):
        at = max(middle, floor + height / 2)
        placed.append(at)
        floor = at + height / 2
    roof = ceiling
    for at in reversed(range(len(placed))):
        placed[at] = min(placed[at], roof - heights[at] / 2)
        roof = placed[at] - heights[at] / 2
    return placed


def fitted(text: str, letters: int, lines: int = 1) -> str:
    """Give a long name in so many lines of so many letters; what is too long loses its middle.

    The two ends of a statement tell most: what it does, and by which column it searches.
    """
    wrapped = textwrap.wrap(text, letters) or [""]
    if len(wrapped) <= lines:
        return "\n".join(wrapped)
    if lines == 1:
        half = (letters - 1) // 2
        return f"{text[:half].rstrip()}…{text[-half:].lstrip()}"
    return "\n".join([*wrapped[: lines - 1], f"…{text[1 - letters :].lstrip()}"])
