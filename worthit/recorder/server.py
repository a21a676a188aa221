"""The recorder's server: OTLP by HTTP and gRPC in, appended bytes out, counts on request."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import grpc
import grpc.aio
import orjson
from google.rpc import status_pb2  # type: ignore[import-untyped]  # no stubs published

from worthit.contract.marks import MARKS_PATH
from worthit.http_server import JSON, LOOPBACK, Request, listen
from worthit.recorder.either import EitherProtocol
from worthit.recorder.keeping import RECENT_SECONDS, TLS, Recorder
from worthit.recorder.live import live
from worthit.recorder.marks import Marks
from worthit.recorder.otlp import (
    LOGS,
    METRICS,
    SIGNALS,
    TRACES,
    Batch,
    RefusedError,
    Signal,
    from_json,
    from_protobuf,
    unpack,
)

if TYPE_CHECKING:
    from worthit.recorder.forwarding import Forwarder

MAX_BODY_BYTES = 32 << 20
"""Of one batch as sent; OpenTelemetry's own collector takes 20 MiB."""

GRPC_STOP_SECONDS = 1.0
"""How long calls under way may take at the end."""

PROTOBUF = b"application/x-protobuf"
"""OTLP's binary content type."""

INVALID_ARGUMENT, UNAVAILABLE = 3, 14
"""google.rpc codes for the body of an HTTP refusal."""

GRPC_SERVICES = {
    "opentelemetry.proto.collector.trace.v1.TraceService": TRACES,
    "opentelemetry.proto.collector.metrics.v1.MetricsService": METRICS,
    "opentelemetry.proto.collector.logs.v1.LogsService": LOGS,
}
"""OTLP/gRPC's services; each has the one method Export."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the recorder listens, writes and passes on to."""

    host: str
    http_port: int
    grpc_port: int | None
    out: Path | None
    marks: Path | None = None
    """Where marks are kept; without it they are refused."""
    forward: tuple[str, ...] = ()
    """OTLP/HTTP endpoints that get everything."""
    forward_headers: str = ""
    """What is sent to them with each batch, as OTEL_EXPORTER_OTLP_HEADERS spells it."""
    forward_traces: tuple[str, ...] = ()
    """Endpoints that take traces alone, such as Jaeger's."""


class HttpFront:
    """OTLP/HTTP and the recorder's own pages."""

    def __init__(self, recorder: Recorder, marks: Marks) -> None:
        self._recorder = recorder
        self._marks = marks
        self._tasks: set[asyncio.Task[None]] = set()

    def handle(self, request: Request) -> None:
        """Route one request."""
        if request.method == b"POST":
            self._post(request)
        elif request.method != b"GET" or request.path in SIGNALS:
            request.respond(
                405, b'{"error":"not allowed; POST OTLP to /v1/traces, /v1/metrics or /v1/logs"}'
            )
        elif request.path == b"/healthz":
            request.respond(200, b'{"status":"ok"}')
        elif request.path == b"/stats":
            request.respond(200, self._recorder.shown())
        elif request.path == b"/refusals":
            request.respond(200, orjson.dumps(self._recorder.refusals))
        elif request.path == b"/live":
            self._live(request)
        else:
            request.respond(
                404,
                b'{"error":"unknown path; there are /v1/{traces,metrics,logs}, /stats, /live"}',
            )

    def _post(self, request: Request) -> None:
        """Take a batch or a mark."""
        signal = SIGNALS.get(request.path)
        if signal is not None:
            self._export(signal, request)
        elif request.path == MARKS_PATH.encode():
            request.respond(*self._marks.take(request.body))
        else:
            reason = (
                f"POST {request.path.decode('latin-1')} is no path of OTLP, which are /v1/traces,"
                " /v1/metrics and /v1/logs: set OTEL_EXPORTER_OTLP_ENDPOINT without a path, and"
                " OTEL_EXPORTER_OTLP_PROTOCOL to http/protobuf or grpc."
            )
            self._recorder.refuse(reason)
            request.respond(404, orjson.dumps({"error": reason}))

    def _export(self, signal: Signal, request: Request) -> None:
        kind = _content_type(request)
        try:
            batch = _decode(signal, kind, request)
            self._recorder.take(signal, batch)
        except RefusedError as error:
            self._recorder.refuse(str(error))
            _respond_status(request, kind, error.status, INVALID_ARGUMENT, str(error))
        except OSError as error:
            message = f"The recorder could not write: {error.strerror}."
            _respond_status(request, kind, 503, UNAVAILABLE, message)
        else:
            request.respond(200, b"{}" if kind == JSON else b"", kind)

    def _live(self, request: Request) -> None:
        given = parse_qs(request.query.decode("latin-1")).get("seconds", ["5"])[0]
        try:
            seconds = float(given)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= RECENT_SECONDS:
            request.respond(
                400, b'{"error":"seconds must be a number above 0 and up to %d"}' % RECENT_SECONDS
            )
            return
        task = asyncio.get_running_loop().create_task(self._answer_live(request, seconds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer_live(self, request: Request, seconds: float) -> None:
        batches = self._recorder.recent(seconds)
        answer = await asyncio.to_thread(live, batches, seconds)
        request.respond(200, orjson.dumps(answer))


def _content_type(request: Request) -> bytes:
    """The body's type without parameters; protobuf when none is said, under one name."""
    kind = request.headers.get(b"content-type", PROTOBUF).partition(b";")[0].strip().lower()
    return PROTOBUF if kind == b"application/protobuf" else kind


def _decode(signal: Signal, kind: bytes, request: Request) -> Batch:
    """The body as a batch; raises RefusedError."""
    if kind not in {PROTOBUF, JSON}:
        shown = kind.decode("latin-1")
        raise RefusedError(f"Content-Type {shown} is not OTLP; send protobuf or JSON.", 415)
    data = unpack(request.body, request.headers.get(b"content-encoding", b""))
    return from_json(signal, data) if kind == JSON else from_protobuf(signal, data)


def _respond_status(request: Request, kind: bytes, status: int, code: int, message: str) -> None:
    """A refusal's body is a google.rpc.Status in the request's own format, as OTLP says."""
    if kind == PROTOBUF:
        body = status_pb2.Status(code=code, message=message).SerializeToString()
        request.respond(status, body, PROTOBUF)
    else:
        request.respond(status, orjson.dumps({"code": code, "message": message}))


class GrpcFront:
    """OTLP/gRPC: the three Export methods over raw bytes, so that nothing is encoded twice."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve the methods there."""
        for service, signal in GRPC_SERVICES.items():
            export = grpc.unary_unary_rpc_method_handler(partial(self._export, signal))
            handler = grpc.method_handlers_generic_handler(service, {"Export": export})
            server.add_generic_rpc_handlers((handler,))

    async def _export(
        self, signal: Signal, data: bytes, context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> bytes:
        try:
            self._recorder.take(signal, from_protobuf(signal, data))
        except RefusedError as error:
            self._recorder.refuse(str(error))
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except OSError as error:
            await context.abort(
                # to OTLP's senders: try again; RESOURCE_EXHAUSTED by itself says never
                grpc.StatusCode.UNAVAILABLE,
                f"The recorder could not write: {error.strerror}.",
            )
        return b""


async def listen_grpc(
    recorder: Recorder, *, max_message_bytes: int
) -> tuple[grpc.aio.Server, int]:
    """Serve OTLP/gRPC on a free port of this machine, to which both known ports lead on."""
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", max_message_bytes),
        ]
    )
    GrpcFront(recorder).add_to(server)
    port = server.add_insecure_port(f"{LOOPBACK}:0")
    await server.start()
    return server, port


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
    marks = Marks(settings.marks, time.time_ns)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(recorder.close)
        stack.callback(marks.close)
        for forwarder in forwarders:
            await stack.enter_async_context(forwarder)
        grpc_server, led_to = await listen_grpc(recorder, max_message_bytes=MAX_BODY_BYTES)
        stack.push_async_callback(grpc_server.stop, GRPC_STOP_SECONDS)
        # each port takes both of OTLP's transports: an SDK may have been given the other's
        ports = [(settings.http_port, "The recorder")]
        if settings.grpc_port is not None:
            ports.append((settings.grpc_port, "The recorder (gRPC)"))
        for port, what in ports:
            server = await listen(
                HttpFront(recorder, marks).handle,
                host=settings.host,
                port=port,
                max_body_bytes=MAX_BODY_BYTES,
                what=what,
                on_refused=recorder.refuse,
                behind=partial(
                    EitherProtocol,
                    grpc_port=led_to,
                    on_tls=partial(recorder.refuse, TLS),
                ),
            )
            stack.callback(server.close)
        await stop.wait()
