"""Tells a generator that is late because a stalled service answers all at once from a slow one.

A service that stands still for seconds and then answers hundreds of requests in one moment takes
the generator's core for that moment: arrivals due in it are sent late, and no faster generator
would have changed what was measured. A generator that stands still itself shows the same silence
and the same flood, but sends nothing meanwhile. So late sends count as the flood's only where, all
through the silence, requests were sent, and on time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worthit.contract.limits import LAG_VALID_MS
from worthit.load.requests.rows import MISSING, RowArray

_SILENCE_NS: Final = 300_000_000
"""No answer for this long is a silence."""
_FLOOD_NS: Final = 200_000_000
"""The answers that make a flood come within this time of the first."""
_AFTERMATH_NS: Final = 500_000_000
"""Sends up to this long after a flood's first answer are its."""
_LEAST: Final = 20
"""Requests sent in a silence, and answers in a flood, below which there is neither."""
_STEADY_SHARE: Final = 0.25
"""The longest pause between sends within a silence, as a share of it."""
_MOST_KEPT: Final = 100


@dataclass(slots=True)
class Stalls:
    """The service's stalls that this process has seen."""

    aftermaths: list[tuple[int, int]] = field(default_factory=list)
    """From and to when sends are late because of a flood of answers."""
    _last_end_ns: int = MISSING

    def apart(self, rows: RowArray, delays_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which rows were not sent in the aftermath of a stall.

        Rows come in the order in which they ended, each once.
        """
        ends = np.sort(rows["end"][rows["end"] != MISSING])
        if len(ends):
            before = ends[0] if self._last_end_ns == MISSING else min(self._last_end_ns, ends[0])
            self._last_end_ns = int(ends[-1])
            ends = np.concatenate([[before], ends])
            for position in np.flatnonzero(np.diff(ends) >= _SILENCE_NS):
                silence = (int(ends[position]), int(ends[position + 1]))
                if _is_the_services(silence, rows, delays_ns):
                    self.aftermaths.append((silence[1], silence[1] + _AFTERMATH_NS))
        del self.aftermaths[:-_MOST_KEPT]
        apart = np.ones(len(rows), dtype=np.bool_)
        for begins_ns, ends_ns in self.aftermaths:
            apart &= (rows["sent"] < begins_ns) | (rows["sent"] > ends_ns)
        return apart


def _is_the_services(
    silence: tuple[int, int], rows: RowArray, delays_ns: NDArray[np.int64]
) -> bool:
    """Whether requests went out on time through a silence, and a flood of answers ended it."""
    begins_ns, ends_ns = silence
    within = (rows["sent"] > begins_ns) & (rows["sent"] < ends_ns)
    flood = (rows["end"] >= ends_ns) & (rows["end"] < ends_ns + _FLOOD_NS)
    if min(np.count_nonzero(within), np.count_nonzero(flood)) < _LEAST:
        return False
    sends = np.concatenate([[begins_ns], np.sort(rows["sent"][within]), [ends_ns]])
    steady = np.diff(sends).max() <= _STEADY_SHARE * (ends_ns - begins_ns)
    on_time = np.quantile(delays_ns[within], 0.99) <= LAG_VALID_MS * 1e6
    return bool(steady and on_time)
