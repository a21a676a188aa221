"""Options that several verbs share, so that they are spelt and explained the same everywhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from worthit.errors import UsageError

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What a run may be called: it becomes a folder's name."""

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

block_seconds_option = click.option(
    "--block-seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Cut each arm's time in traces into blocks of S seconds, the unit of every interval. "
    "Without it each arm is one block, or has those that the traces name.",
)


def name_option(help_text: str) -> Callable[[Any], Any]:
    """Give the option for a run's name; check what it holds with ``run_name``."""
    return click.option("--name", help=help_text)


def run_name(chosen: str) -> str:
    """Give a run's name if a folder can be called so.

    Raises
    ------
    UsageError
        It cannot.
    """
    if not NAME.fullmatch(chosen):
        raise UsageError(
            f"The name {chosen!r} cannot be a folder's; use letters, digits, dots, - and _."
        )
    return chosen


dask_option = click.option(
    "--dask",
    metavar="ADDRESS",
    help="Have the workers of the Dask scheduler there, as in tcp://127.0.0.1:8786, do the work. "
    "The answer is the same. They must see the files and the temporary folder (TMPDIR).",
)

quiet_option = click.option("--quiet", is_flag=True, help="Show no progress.")

clocks_option = click.option(
    "--correct-clocks",
    is_flag=True,
    help="Also move the spans of services whose clock seems to differ from their "
    "caller's; those whose clock differs beyond doubt are moved anyway, "
    "unless the rules are jaeger or crisp.",
)

arm_from_option = click.option(
    "--arm-from",
    metavar="ATTRIBUTE",
    help="Of a recording: the resource attribute that names the arm, such as service.version.",
)

operation_option = click.option(
    "--operation", metavar="NAME", help="The span's name that the change is about."
)

statement_option = click.option(
    "--statement",
    metavar="TEXT",
    help="The statement or table that the change is about, or a part of its text.",
)
