"""The limits by which a load generator is judged: by the load itself, and by the run's verdict."""

from __future__ import annotations

import math
from typing import Final

LAG_VALID_MS: Final = 5.0
"""Lag (actual minus intended send) up to this at p99 is the generator's ordinary jitter."""

LAG_SUSPECT_MS: Final = 50.0
"""Beyond this at p99 the arrivals no longer follow the schedule; the load was another one."""

LAG_VALID_SHARE: Final = 0.005
"""What matters is lag against what is measured: half a percent of the step's median response time
is as harmless as 5 ms, whichever is larger. A 3 s chat does not feel 15 ms."""

LAG_SUSPECT_SHARE: Final = 0.05
"""As above: 5 % of the median response time, or 50 ms, whichever is larger."""

RATE_VALID_SHARE: Final = 0.01
"""Arrivals sent within 1 % of those planned: less than a Poisson schedule's own scatter."""

RATE_SUSPECT_SHARE: Final = 0.05
"""More than 5 % of the arrivals missing: the step's name says a rate that never was."""

WORKER_RATE_PER_S: Final = 1000.0
"""Arrivals per second that one core sends on time: 0.56 ms of CPU each, measured at this rate."""

WORKER_CPU_SUSPECT: Final = 0.9
"""A worker at 90 % of its core is about to queue its own arrivals, and then measures itself."""

UNENDED_VALID_SHARE: Final = 0.001
"""Requests that never ended, as a share: beyond it the tail is cut off where it matters."""

UNENDED_INVALID_SHARE: Final = 0.05
"""As above, where p95 itself is unknown."""


OWN_VALID_MS: Final = 5.0
"""The load's own part of a response time (calibrated against a server that answers at once) up to
this at p99 is its ordinary jitter, as with lag."""

OWN_VALID_SHARE: Final = 0.15
"""Of a slower service's p99 the load's own may be so much: beyond it, services whose p99 differ by
15 % would look alike."""


def workers_wanted(peak_per_s: float) -> int:
    """Give how many load processes, each with a core, send a plan of this highest rate on time."""
    return max(math.ceil(peak_per_s / WORKER_RATE_PER_S), 1)


def own_limit_ms(p99_response_ms: float) -> float:
    """Give the largest p99 of the load's own part, in ms, that is VALID at such a p99 response."""
    return max(OWN_VALID_MS, OWN_VALID_SHARE * p99_response_ms)


def lag_limits_ms(median_response_ms: float) -> tuple[float, float]:
    """Give the largest lag p99 in ms that is VALID, and the largest that is SUSPECT.

    At a median response time of 3 s these are 15 and 150 ms; below 1 s they are 5 and 50 ms.

    Parameters
    ----------
    median_response_ms
        Of the step; 0 or NaN when no request ended.
    """
    median = median_response_ms if median_response_ms > 0 else 0.0
    return (
        max(LAG_VALID_MS, LAG_VALID_SHARE * median),
        max(LAG_SUSPECT_MS, LAG_SUSPECT_SHARE * median),
    )
