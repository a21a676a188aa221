"""A registry as Prometheus text, format 0.0.4."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from reference_service.telemetry.metrics import Counter, Histogram, Instrument, Labels, Registry

_TYPES: Final = {"updowncounter": "gauge"}
"""Prometheus' word for a kind that has another name there."""


def text(registry: Registry) -> str:
    """Return all metrics as text."""
    return "".join(line for one in registry.instruments.values() for line in _instrument(one))


def _instrument(instrument: Instrument) -> Iterator[str]:
    name = instrument.name.replace(".", "_")
    if instrument.unit == "s":
        name += "_seconds"
    if instrument.kind == "counter":
        name += "_total"
    kind = _TYPES.get(instrument.kind, instrument.kind)
    yield f"# HELP {name} {instrument.description}\n# TYPE {name} {kind}\n"
    if instrument.read is not None:
        for labels, value in instrument.read():
            yield f"{name}{_labels(labels)} {_number(value)}\n"
    for labels, series in tuple(instrument.series.items()):
        if isinstance(series, Counter):
            yield f"{name}{_labels(labels)} {_number(series.value)}\n"
        else:
            yield from _histogram(name, labels, series)


def _histogram(name: str, labels: Labels, series: Histogram) -> Iterator[str]:
    running = 0
    for bound, count in zip((*map(str, series.bounds), "+Inf"), series.counts, strict=True):
        running += count
        yield f"{name}_bucket{_labels((*labels, ('le', bound)))} {running}\n"
    yield f"{name}_sum{_labels(labels)} {_number(series.total)}\n"
    yield f"{name}_count{_labels(labels)} {running}\n"


def _number(value: float) -> str:
    """Return a number with all its digits: a rate is the difference of two of them."""
    return repr(float(value)).removesuffix(".0")


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return (
        "{"
        + ",".join(f'{key.replace(".", "_")}="{_escaped(str(value))}"' for key, value in labels)
        + "}"
    )


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
