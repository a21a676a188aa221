"""The recorder by gRPC: OTLP's three Export methods."""

from __future__ import annotations

from functools import partial

import grpc
import grpc.aio

from worthit.errors import WorthitError
from worthit.http_server import PORT_IN_USE
from worthit.recorder.keeping import Recorder
from worthit.recorder.otlp import LOGS, METRICS, TRACES, RefusedError, Signal, from_protobuf

GRPC_SERVICES = {
    "opentelemetry.proto.collector.trace.v1.TraceService": TRACES,
    "opentelemetry.proto.collector.metrics.v1.MetricsService": METRICS,
    "opentelemetry.proto.collector.logs.v1.LogsService": LOGS,
}
"""OTLP/gRPC's services; each has the one method Export."""


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
            self._recorder.refuse()
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except OSError as error:
            await context.abort(
                # to OTLP's senders: try again; RESOURCE_EXHAUSTED by itself says never
                grpc.StatusCode.UNAVAILABLE,
                f"The recorder could not write: {error.strerror}.",
            )
        return b""


async def listen_grpc(
    recorder: Recorder, *, host: str, port: int, max_message_bytes: int
) -> grpc.aio.Server:
    """Serve OTLP/gRPC; a port in use is a WorthitError."""
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", max_message_bytes),
        ]
    )
    GrpcFront(recorder).add_to(server)
    try:
        server.add_insecure_port(f"{host}:{port}")
    except RuntimeError:
        raise WorthitError(
            f"The recorder cannot listen on {host}:{port} for gRPC, {PORT_IN_USE}; "
            "end what listens there or choose another port."
        ) from None
    await server.start()
    return server
