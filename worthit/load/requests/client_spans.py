"""Client spans of the load itself, sent to an OTLP endpoint in batches.

Off unless ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or ``..._TRACES_ENDPOINT``) is set, and off in runs
that follow a plan: there the request's first span is the service's own, and the recorded rows hold
the client's view. OpenTelemetry's own processor and exporter send them, from a thread that gevent
has made a greenlet. It takes about 40 us of CPU per span to encode them, in one go per batch: so
batches are small, because arrivals wait meanwhile.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
from typing_extensions import override

from worthit.contract import names
from worthit.load.requests.request_log import Mark

_EXPORT_MS = 1_000.0
_MOST_WAITING = 20_000
"""Spans kept while the endpoint does not answer; what comes beyond is counted as lost and said."""
_BATCH = 100
"""Spans encoded in one go: 4 ms, within the schedule delay that a run may have."""
_TIMEOUT_SECONDS = 5.0
"""How long one batch may take, repeated attempts included."""
_FIRST_ERROR_STATUS = 400
_SCOPE = InstrumentationScope("worthit.load")
SERVICE = "load"
"""The service of the client spans. A script that starts service and load exports
OTEL_SERVICE_NAME for its service: by that name the two would be one."""
_LOGGER = logging.getLogger("worthit.load")


class CountingExporter(OTLPSpanExporter):
    """OpenTelemetry's, counting what it delivers: the processor tells nobody."""

    taken = 0
    failed = False
    closing = False
    """At the end nobody waits for an endpoint that has failed: each try may take seconds."""

    @override
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self.closing and self.failed:
            return SpanExportResult.FAILURE
        result = super().export(spans)
        self.failed = result is not SpanExportResult.SUCCESS
        self.taken += 0 if self.failed else len(spans)
        return result


class ClientSpans:
    """Takes finished requests, sends them as client spans."""

    def __init__(self, exporter: CountingExporter, *, run: str, service: str = "load") -> None:
        self._exporter = exporter
        self._processor = BatchSpanProcessor(
            exporter,
            max_queue_size=_MOST_WAITING,
            max_export_batch_size=_BATCH,
            schedule_delay_millis=_EXPORT_MS,
        )
        self._run = run
        self._resource = Resource({names.SERVICE_NAME: service})
        self._added = 0

    @property
    def sent(self) -> int:
        """Spans that the endpoint took."""
        return self._exporter.taken

    @property
    def lost(self) -> int:
        """Spans that were refused or dropped; before the end also those that wait."""
        return self._added - self.sent

    def add(self, mark: Mark, meta: dict[str, Any]) -> None:
        """Take one finished request."""
        failed = meta.get("exception") is not None
        span_context = SpanContext(
            trace_id=int.from_bytes(mark.ids[:16], "big"),
            span_id=int.from_bytes(mark.ids[16:], "big"),
            is_remote=False,
            trace_flags=TraceFlags(TraceFlags.SAMPLED),
        )
        self._added += 1
        self._processor.on_end(
            ReadableSpan(
                name=f"{meta['request_type']} {mark.name}",
                context=span_context,
                resource=self._resource,
                attributes=self._attributes(mark, meta),
                kind=SpanKind.CLIENT,
                status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
                start_time=mark.sent_ns,
                end_time=mark.end_ns or mark.sent_ns,
                instrumentation_scope=_SCOPE,
            )
        )

    def _attributes(self, mark: Mark, meta: dict[str, Any]) -> dict[str, str | int]:
        response, exception = meta.get("response"), meta.get("exception")
        status_code = (response.status_code if response is not None else 0) or 0
        url = str(meta.get("url") or "")
        parts = urlsplit(url)
        found: dict[str, str | int] = {
            "http.request.method": str(meta["request_type"]),
            "url.full": url,
            "server.address": parts.hostname or "",
            "server.port": parts.port or (443 if parts.scheme == "https" else 80),
            names.RUN: self._run,
            names.ARM: mark.block.arm,
            names.SCENARIO: mark.scenario,
            names.STEP: mark.block.step,
            names.BLOCK: mark.block.block,
            names.DRAW: mark.draw,
        }
        if status_code:
            found["http.response.status_code"] = status_code
        if exception is not None:
            by_status = status_code >= _FIRST_ERROR_STATUS
            found["error.type"] = str(status_code) if by_status else type(exception).__name__
        return found

    def close(self) -> None:
        """Send what is left and stop; what is still there after a while is lost, and said."""
        self._exporter.closing = True
        self._processor.shutdown()  # type: ignore[no-untyped-call]  # the SDK leaves it unannotated
        if self.lost:
            _LOGGER.warning("%d of %d client spans were lost.", self.lost, self._added)


def from_environment(run: str) -> ClientSpans | None:
    """Return an exporter if OpenTelemetry's variables ask for one; it speaks http/protobuf."""
    environment = os.environ
    root = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    wanted = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or root
    if not wanted or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    protocol = environment.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    if protocol != "http/protobuf":
        _LOGGER.warning(
            "Client spans are sent as http/protobuf only, not %s; "
            "set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf and that endpoint.",
            protocol,
        )
        return None
    if urlsplit(wanted).scheme not in {"http", "https"}:
        _LOGGER.warning("Client spans are not sent: %s is no http or https address.", wanted)
        return None
    exporter = CountingExporter(timeout=_TIMEOUT_SECONDS, compression=Compression.Gzip)
    return ClientSpans(exporter, run=run, service=SERVICE)
