"""Options that several verbs share, so that they are spelt and explained the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

DEFAULT_OUT: Final = Path("runs")
"""Where runs go when nobody says otherwise: a folder of the current one."""

out_option = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_OUT,
    show_default=True,
    help="Folder that the run directory is made in.",
)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout and nothing else."
)

quiet_option = click.option("--quiet", is_flag=True, help="Show no progress.")

clocks_option = click.option(
    "--correct-clocks",
    is_flag=True,
    help="Also move the spans of services whose clock seems to differ from their "
    "caller's; those whose clock differs beyond doubt are moved anyway, "
    "unless the rules are jaeger or crisp.",
)
