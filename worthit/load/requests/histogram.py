"""Percentiles with a stated error from a histogram that costs the same however many values go in.

Buckets grow by 0.5 %, so a percentile read from one is within 0.25 % of the true value (the idea
of HdrHistogram, with logarithms instead of bit patterns because the values arrive as arrays).
Histograms of several workers add up exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

GROWTH = 1.005
"""Each bucket is this much wider than the one before."""
RELATIVE_ERROR = 0.0025
"""The largest relative error of a percentile: half a bucket."""
_SMALLEST_NS = 1_000
"""Values below 1 microsecond count as 1 microsecond: no clock here says more."""
_LOG_GROWTH = math.log(GROWTH)


class Histogram:
    """Counts of durations in ns by logarithmic bucket, with the exact minimum and maximum."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.max_ns = 0

    def add(self, values_ns: NDArray[np.int64]) -> None:
        """Count an array of durations in ns; negative ones count as the smallest."""
        if not len(values_ns):
            return
        clipped = np.maximum(values_ns, _SMALLEST_NS)
        buckets = np.floor(np.log(clipped / _SMALLEST_NS) / _LOG_GROWTH).astype(np.int64)
        for bucket, count in zip(*np.unique(buckets, return_counts=True), strict=True):
            self._counts[int(bucket)] = self._counts.get(int(bucket), 0) + int(count)
        self.count += len(values_ns)
        self.max_ns = max(self.max_ns, int(values_ns.max()))

    def merge(self, pairs: Iterable[tuple[int, int]], max_ns: int) -> None:
        """Add another histogram, given as pairs of bucket and count."""
        for bucket, count in pairs:
            self._counts[bucket] = self._counts.get(bucket, 0) + count
            self.count += count
        self.max_ns = max(self.max_ns, max_ns)

    def pairs(self) -> list[tuple[int, int]]:
        """Return the filled buckets in order, as pairs of bucket and count."""
        return sorted(self._counts.items())

    def percentile_ms(self, percent: float) -> float | None:
        """Return the smallest duration, in ms, that ``percent`` of the values do not exceed.

        None of no values.
        """
        if not self.count:
            return None
        wanted = max(math.ceil(self.count * percent / 100.0), 1)
        if wanted == self.count:
            return self.max_ns / 1e6
        seen = 0
        for bucket, count in self.pairs():
            seen += count
            if seen >= wanted:
                middle = _middle_ns(bucket)
                return min(middle, float(max(self.max_ns, _SMALLEST_NS))) / 1e6
        return self.max_ns / 1e6

    def mean_ms(self) -> float | None:
        """Return the mean in ms, within the buckets' error; None of no values."""
        if not self.count:
            return None
        total = sum(_middle_ns(bucket) * count for bucket, count in self._counts.items())
        return total / self.count / 1e6


def _middle_ns(bucket: int) -> float:
    return _SMALLEST_NS * math.exp((bucket + 0.5) * _LOG_GROWTH)
