"""`python -m worthit.recorder`: record OTLP until SIGTERM or Ctrl-C."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from worthit.errors import WorthitError
from worthit.listening import LOOPBACK
from worthit.recorder.server import Settings, serve

PORT = click.IntRange(1, 65535)
"""What a port may be."""


@click.command()
@click.option("--host", default=LOOPBACK, show_default=True, help="Address to listen on.")
@click.option("--http-port", type=PORT, required=True, help="Port for OTLP/HTTP.")
@click.option("--grpc-port", type=PORT, help="Port for OTLP/gRPC; without it, HTTP only.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to append traces to, metrics beside it; without it nothing is kept.",
)
@click.option(
    "--marks",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to append the marks of `worthit mark` to; without it they are refused.",
)
@click.option("--forward", multiple=True, help="A further OTLP/HTTP endpoint that gets it all.")
@click.option("--forward-traces", multiple=True, help="One that gets the traces alone.")
def command(
    *,
    host: str,
    http_port: int,
    grpc_port: int | None,
    out: Path | None,
    marks: Path | None,
    forward: tuple[str, ...],
    forward_traces: tuple[str, ...],
) -> None:
    """Append every OTLP batch that comes in to a file.

    OTEL_EXPORTER_OTLP_HEADERS is sent to the endpoints of --forward, such as an Authorization.
    """
    settings = Settings(
        host=host,
        http_port=http_port,
        grpc_port=grpc_port,
        out=out,
        marks=marks,
        forward=forward,
        forward_headers=os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""),
        forward_traces=forward_traces,
    )
    try:
        serve(settings)
    except WorthitError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    command()
