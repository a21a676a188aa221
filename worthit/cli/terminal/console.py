"""The console that tables are printed on."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

WIDTH_WITHOUT_TERMINAL = 160
"""Columns in a pipe, a file or a CI log: the widest table fits without breaking a word."""


def table_console() -> Console:
    """Give one as wide as the terminal, or as COLUMNS says; where there is neither, wide."""
    from rich.console import Console  # noqa: PLC0415 - --help is fast

    has_width = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console() if has_width else Console(width=WIDTH_WITHOUT_TERMINAL)
