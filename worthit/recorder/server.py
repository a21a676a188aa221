"""The recorder's server: OTLP by HTTP and gRPC in, appended bytes out, counts on request."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import orjson
from google.rpc import status_pb2  # type: ignore[import-untyped]  # no stubs published
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Lifespan

from worthit import listening
from worthit.contract.marks import MARKS_PATH
from worthit.listening import LOOPBACK, Bodies, LastAnswer, UnreadError
from worthit.recorder.either import GRPC_PORT, ON_REFUSED, EitherProtocol
from worthit.recorder.keeping import RECENT_SECONDS, Recorder
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

RETRY_AFTER_SECONDS = "1"
"""When a sender may come again that was turned away for want of room."""

GRPC_STOP_SECONDS = 1.0
"""How long calls under way may take at the end."""

PROTOBUF, JSON = "application/x-protobuf", "application/json"
"""OTLP's content types."""

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
        self._bodies = Bodies(MAX_BODY_BYTES)

    def app(self, lifespan: Lifespan[Starlette]) -> Starlette:
        """Every path; `lifespan` is what runs beside."""
        return Starlette(
            routes=[
                *(
                    Route(path, partial(self._export, signal), methods=["POST"])
                    for path, signal in SIGNALS.items()
                ),
                Route(MARKS_PATH, self._mark, methods=["POST"]),
                Route("/healthz", self._health),
                Route("/stats", self._stats),
                Route("/refusals", self._refusals),
                Route("/live", self._live),
            ],
            exception_handlers={
                HTTPException: self._no_such_page,
                UnreadError: self._unread,
                ClientDisconnect: self._unread,
            },
            lifespan=lifespan,
        )

    async def _export(self, signal: Signal, request: Request) -> Response:
        kind = _content_type(request)
        try:
            self._recorder.take(signal, await self._batch(signal, kind, request))
        except RefusedError as error:
            self._recorder.refuse(str(error))
            return _refusal(kind, error.status, str(error))
        except OSError as error:
            return _refusal(kind, 503, f"The recorder could not write: {error.strerror}.")
        return Response(b"{}" if kind == JSON else b"", media_type=kind)

    async def _batch(self, signal: Signal, kind: str, request: Request) -> Batch:
        """Receive a batch and check it; raises RefusedError, UnreadError."""
        body = await self._bodies.read(request)
        if kind not in {PROTOBUF, JSON}:
            raise RefusedError(f"Content-Type {kind} is not OTLP; send protobuf or JSON.", 415)
        data = unpack(body, request.headers.get("content-encoding", ""))
        return from_json(signal, data) if kind == JSON else from_protobuf(signal, data)

    async def _unread(self, request: Request, error: Exception) -> Response:
        """Answer a body too large, too slow or one too many; of one cut off nobody hears."""
        if not isinstance(error, UnreadError):
            return Response()
        self._recorder.refuse(str(error))
        return _refusal(_content_type(request), error.status, str(error), LastAnswer)

    async def _no_such_page(self, request: Request, error: Exception) -> Response:
        """Say what there is to whoever asks for another path, or in another way."""
        if not isinstance(error, HTTPException):
            raise error
        if request.method == "POST":
            reason = (
                f"POST {request.url.path} is no path of OTLP, which are /v1/traces, /v1/metrics"
                " and /v1/logs: set OTEL_EXPORTER_OTLP_ENDPOINT without a path, and"
                " OTEL_EXPORTER_OTLP_PROTOCOL to http/protobuf or grpc."
            )
            self._recorder.refuse(reason)
        else:
            reason = f"{error.detail}; POST OTLP to {', '.join(SIGNALS)}, or GET /stats or /live."
        return JSONResponse({"error": reason}, error.status_code, error.headers)

    async def _mark(self, request: Request) -> Response:
        status, answer = self._marks.take(await self._bodies.read(request))
        return Response(answer, status, media_type=JSON)

    async def _refusals(self, _request: Request) -> Response:
        return JSONResponse(self._recorder.refusals)

    async def _health(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _stats(self, _request: Request) -> Response:
        return Response(self._recorder.shown(), media_type=JSON)

    async def _live(self, request: Request) -> Response:
        try:
            seconds = float(request.query_params.get("seconds", "5"))
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= RECENT_SECONDS:
            reason = f"seconds must be a number above 0 and up to {RECENT_SECONDS}"
            return JSONResponse({"error": reason}, 400)
        answer = await asyncio.to_thread(live, self._recorder.recent(seconds), seconds)
        return Response(orjson.dumps(answer), media_type=JSON)


def _content_type(request: Request) -> str:
    """The body's type without parameters; protobuf when none is said, under one name."""
    kind = request.headers.get("content-type", PROTOBUF).partition(";")[0].strip().lower()
    return PROTOBUF if kind == "application/protobuf" else kind


def _refusal(kind: str, status: int, message: str, as_what: type[Response] = Response) -> Response:
    """A refusal's body is a google.rpc.Status in the request's own format, as OTLP says."""
    final = status < 500  # noqa: PLR2004 - the sender's fault, in HTTP's numbers
    code = INVALID_ARGUMENT if final else UNAVAILABLE
    headers = None if final else {"Retry-After": RETRY_AFTER_SECONDS}
    if kind == PROTOBUF:
        body = status_pb2.Status(code=code, message=message).SerializeToString()
        return as_what(body, status, headers, PROTOBUF)
    return as_what(orjson.dumps({"code": code, "message": message}), status, headers, JSON)


class GrpcFront:
    """OTLP/gRPC: the three Export methods over raw bytes, so that nothing is encoded twice."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Serve on a free port of this machine, to which both known ports lead on."""
        server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", MAX_BODY_BYTES),
            ]
        )
        for service, signal in GRPC_SERVICES.items():
            export = grpc.unary_unary_rpc_method_handler(partial(self._export, signal))
            handler = grpc.method_handlers_generic_handler(service, {"Export": export})
            server.add_generic_rpc_handlers((handler,))
        port = server.add_insecure_port(f"{LOOPBACK}:0")
        await server.start()
        try:
            yield port
        finally:
            await server.stop(GRPC_STOP_SECONDS)

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


def serve(settings: Settings) -> None:
    """Serve until told to end; every batch answered with success is in the file by then."""
    forwarders = _forwarders(settings)
    with (
        contextlib.closing(Recorder(settings.out, forwarders, time.monotonic)) as recorder,
        contextlib.closing(Marks(settings.marks, time.time_ns)) as marks,
    ):
        # each port takes both of OTLP's transports: an SDK may have been given the other's
        sockets = [listening.bind("The recorder", settings.host, settings.http_port)]
        if settings.grpc_port is not None:
            what = "The recorder (gRPC)"
            sockets.append(listening.bind(what, settings.host, settings.grpc_port))

        @contextlib.asynccontextmanager
        async def beside(_app: Starlette) -> AsyncIterator[dict[str, object]]:
            async with contextlib.AsyncExitStack() as stack:
                for forwarder in forwarders:
                    await stack.enter_async_context(forwarder)
                grpc_port = await stack.enter_async_context(GrpcFront(recorder).serving())
                yield {GRPC_PORT: grpc_port, ON_REFUSED: recorder.refuse}

        listening.serve(HttpFront(recorder, marks).app(beside), sockets, EitherProtocol)
