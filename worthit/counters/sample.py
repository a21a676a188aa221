"""One row of counters.parquet."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of counters.parquet."""

    t_ns: int
    source: str
    name: str
    labels: str
    value: float


def sample(t_ns: int, source: str, name: str, value: float, /, **labels: object) -> Sample:
    """A row; the labels, which may have any name, become a JSON object with sorted keys."""
    return Sample(t_ns, source, name, json.dumps(labels, sort_keys=True), float(value))
