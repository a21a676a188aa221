"""`python -m worthit.simulator`: run the LLM simulator until SIGTERM or Ctrl-C."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from worthit.errors import WorthitError
from worthit.listening import LOOPBACK
from worthit.simulator.latency import PROFILES
from worthit.simulator.server import serve


@click.command()
@click.option("--host", default=LOOPBACK, show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), required=True, help="Port to listen on.")
@click.option("--seed", type=click.IntRange(0, (1 << 63) - 1), default=0, show_default=True)
@click.option(
    "--profile", type=click.Choice(sorted(PROFILES)), default="native", show_default=True
)
@click.option(
    "--log",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Where to log each call, as JSON lines.",
)
def command(host: str, port: int, seed: int, profile: str, log: Path) -> None:
    """Serve an OpenAI-compatible API that takes log-normal time and says what it did."""
    try:
        serve(host=host, port=port, seed=seed, profile=PROFILES[profile], log=log)
    except WorthitError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    command()
