"""`python -m harness.recorder`: record OTLP until SIGTERM or Ctrl-C."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import click

from harness.recorder.server import serve
from harness.serving import LOOPBACK, run_until_signalled

PORT = click.IntRange(1, 65535)
"""What a port may be."""


@click.command()
@click.option("--host", default=LOOPBACK, show_default=True, help="Address to listen on.")
@click.option("--http-port", type=PORT, required=True, help="Port for OTLP/HTTP.")
@click.option("--grpc-port", type=PORT, help="Port for OTLP/gRPC; without it, HTTP only.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="File to append to.",
)
@click.option("--forward", help="A second OTLP/HTTP endpoint to pass traces on to.")
def command(
    host: str, http_port: int, grpc_port: int | None, out: Path, forward: str | None
) -> None:
    """Append every OTLP batch that comes in to a file."""
    sys.exit(
        run_until_signalled(
            partial(
                serve,
                host=host,
                http_port=http_port,
                grpc_port=grpc_port,
                out=out,
                forward=forward,
            )
        )
    )


if __name__ == "__main__":
    command()
