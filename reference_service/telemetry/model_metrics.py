"""Metrics of model calls; their names, which are still moving, stand in one table here."""

from __future__ import annotations

from time import perf_counter
from typing import Final, Self

from reference_service.telemetry.metrics import Histogram, Labels, Registry

NAMES: Final = {
    "duration": ("gen_ai.client.operation.duration", "s", "Duration of model calls."),
    "tokens": ("gen_ai.client.token.usage", "{token}", "Tokens of model calls."),
}
"""Instrument, unit and meaning by what is measured: GenAI conventions 1.44, in development."""


class Measured:
    """One model call being timed; a context manager."""

    __slots__ = ("_began", "_metrics", "_operation", "_tokens")

    def __init__(self, metrics: ModelMetrics, operation: str) -> None:
        self._metrics = metrics
        self._operation = operation
        self._began = 0.0
        self._tokens: tuple[int | None, ...] = ()

    def tokens(self, *counts: int | None) -> None:
        """Note how many tokens went in and, for a chat, came out; None where nobody said."""
        self._tokens = counts

    def __enter__(self) -> Self:
        self._began = perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        name = "" if kind is None else kind.__qualname__
        self._metrics.record(self._operation, perf_counter() - self._began, name, self._tokens)


class ModelMetrics:
    """Histograms of the chat and embedding calls to one provider."""

    def __init__(self, registry: Registry, *, provider: str, models: dict[str, str]) -> None:
        self._registry = registry
        self._labels: dict[str, Labels] = {
            operation: (
                ("gen_ai.operation.name", operation),
                ("gen_ai.provider.name", provider),
                ("gen_ai.request.model", model),
            )
            for operation, model in models.items()
        }
        self._series: dict[tuple[str, str, str], Histogram] = {}

    def chat(self) -> Measured:
        """Time a chat completion."""
        return Measured(self, "chat")

    def embeddings(self) -> Measured:
        """Time an embedding."""
        return Measured(self, "embeddings")

    def record(
        self, operation: str, seconds: float, error: str, tokens: tuple[int | None, ...]
    ) -> None:
        """Record a call that ended; `error` is empty for one that succeeded."""
        self._histogram("duration", operation, "error.type", error).record(seconds)
        for kind, count in zip(("input", "output"), tokens, strict=False):
            if count is not None:
                self._histogram("tokens", operation, "gen_ai.token.type", kind).record(count)

    def _histogram(self, what: str, operation: str, label: str, value: str) -> Histogram:
        found = self._series.get((what, operation, value))
        if found is None:
            labels = self._labels[operation] + (((label, value),) if value else ())
            found = self._registry.histogram(*NAMES[what], labels)
            self._series[what, operation, value] = found
        return found
