"""A registry as Prometheus text, format 0.0.4."""

from __future__ import annotations

from collections.abc import Iterator

from reference_service.telemetry.metrics import Counter, Histogram, Instrument, Labels, Registry


def text(registry: Registry) -> str:
    """Return all metrics as text."""
    return "".join(line for one in registry.instruments.values() for line in _instrument(one))


def _instrument(instrument: Instrument) -> Iterator[str]:
    name = instrument.name.replace(".", "_")
    if instrument.unit == "s":
        name += "_seconds"
    if instrument.kind == "counter":
        name += "_total"
    yield f"# HELP {name} {instrument.description}\n# TYPE {name} {instrument.kind}\n"
    if instrument.read is not None:
        for labels, value in instrument.read():
            yield f"{name}{_labels(labels)} {value:g}\n"
    for labels, series in tuple(instrument.series.items()):
        if isinstance(series, Counter):
            yield f"{name}{_labels(labels)} {series.value:g}\n"
        else:
            yield from _histogram(name, labels, series)


def _histogram(name: str, labels: Labels, series: Histogram) -> Iterator[str]:
    running = 0
    for bound, count in zip((*map(str, series.bounds), "+Inf"), series.counts, strict=True):
        running += count
        yield f"{name}_bucket{_labels((*labels, ('le', bound)))} {running}\n"
    yield f"{name}_sum{_labels(labels)} {series.total:g}\n"
    yield f"{name}_count{_labels(labels)} {running}\n"


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
