"""Names at the ends of lines, so that no figure needs a legend.

Pushed apart where they would overlap.
"""

from __future__ import annotations

import math
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
