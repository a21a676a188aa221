"""``worthit plugin``: the path to add to somebody's own Locust command."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from worthit.environment.server import child_environment


@click.command("plugin")
@click.option("--arguments", is_flag=True, help="Print the arguments that it adds to Locust.")
def command(*, arguments: bool) -> int:
    """Print the path of the Locust plugin: trace context, recording, verdict and the live page.

    Used as: locust -f theirs.py,"$(worthit plugin)" --worthit-out DIR
    """
    if arguments:
        # in a process of its own, because importing Locust patches sockets
        listing = [sys.executable, "-m", "worthit.load"]
        return subprocess.run(listing, check=False, env=child_environment()).returncode
    spec = find_spec("worthit")
    places = list(spec.submodule_search_locations or ()) if spec else []
    click.echo(Path(places[0]) / "load" / "plugin" / "worthit_load_plugin_file.py")
    return 0
