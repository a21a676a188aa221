"""Spans around the service's stages and calls.

`start_as_current_span` by itself writes an exception's text and stack on the span. The text may
hold a user's words, so here a failure is told by its class alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, get_current_span
from opentelemetry.util.types import AttributeValue

from reference_service.telemetry import names


@contextmanager
def recorded(
    tracer: Tracer,
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Mapping[str, AttributeValue] | None = None,
) -> Iterator[Span]:
    """Record what the body does as a child of the current span; inside, it is the current one."""
    with tracer.start_as_current_span(
        name,
        kind=kind,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except BaseException as error:
            mark_failed(span, getattr(error, "error_type", type(error).__qualname__))
            raise


def mark_failed(span: Span, error_type: str) -> None:
    """Mark a span failed."""
    span.set_status(Status(StatusCode.ERROR))
    span.set_attribute(names.ERROR_TYPE, error_type)


def mark_emulated(seconds: float) -> None:
    """Say on the current span how much of its time was only waited for."""
    span = get_current_span()
    if span.is_recording():  # a load that others share may outlive the span it began under
        span.set_attribute(names.EMULATED_NS, round(seconds * 1e9))
