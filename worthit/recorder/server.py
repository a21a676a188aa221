"""The recorder's server: OTLP by HTTP and gRPC in, appended bytes out, counts on request."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from worthit.http_server import listen
from worthit.recorder.grpc_front import listen_grpc
from worthit.recorder.http_front import HttpFront
from worthit.recorder.keeping import Recorder

if TYPE_CHECKING:
    from worthit.recorder.forwarding import Forwarder

MAX_BODY_BYTES = 32 << 20
"""Of one batch as sent; OpenTelemetry's own collector takes 20 MiB."""

GRPC_STOP_SECONDS = 1.0
"""How long calls under way may take at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the recorder listens, writes and passes on to."""

    host: str
    http_port: int
    grpc_port: int | None
    out: Path | None
    forward: tuple[str, ...] = ()
    """OTLP/HTTP endpoints that get everything."""
    forward_headers: str = ""
    """What is sent to them with each batch, as OTEL_EXPORTER_OTLP_HEADERS spells it."""
    forward_traces: tuple[str, ...] = ()
    """Endpoints that take traces alone, such as Jaeger's."""


def _forwarders(settings: Settings) -> list[Forwarder]:
    """Who else gets what comes in; mostly nobody, and then no client library is loaded."""
    if not settings.forward and not settings.forward_traces:
        return []
    from opentelemetry.util.re import parse_env_headers  # noqa: PLC0415 - as below

    from worthit.recorder.forwarding import Forwarder  # noqa: PLC0415 - half of the start's time

    headers = parse_env_headers(settings.forward_headers, liberal=True)

    return [
        *(Forwarder(url, traces_only=False, headers=headers) for url in settings.forward),
        *(Forwarder(url, traces_only=True) for url in settings.forward_traces),
    ]


async def serve(stop: asyncio.Event, settings: Settings) -> None:
    """Serve until `stop`; every batch answered with success is in the file by then."""
    forwarders = _forwarders(settings)
    recorder = Recorder(settings.out, forwarders, time.monotonic)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(recorder.close)
        for forwarder in forwarders:
            await stack.enter_async_context(forwarder)
        server = await listen(
            HttpFront(recorder).handle,
            host=settings.host,
            port=settings.http_port,
            max_body_bytes=MAX_BODY_BYTES,
            what="The recorder",
            on_refused=recorder.refuse,
        )
        stack.callback(server.close)
        if settings.grpc_port is not None:
            grpc_server = await listen_grpc(
                recorder,
                host=settings.host,
                port=settings.grpc_port,
                max_message_bytes=MAX_BODY_BYTES,
            )
            stack.push_async_callback(grpc_server.stop, GRPC_STOP_SECONDS)
        await stop.wait()
