"""``profiles/`` of a run directory: collapsed stacks, a file per measured block and process."""

from __future__ import annotations

import re
from typing import Final

PROFILES: Final = "profiles"
"""The folder."""

SAMPLES_PER_S: Final = 100
"""Per process. What it costs the service is measured by ``make bench ARGS=profiling``."""


def profile_name(block: int, process: int) -> str:
    """The file of a block's stacks in one of the service's processes."""
    return f"block-{block}-{process}.collapsed"


def block_of(name: str) -> int | None:
    """The block of a file of this folder; None of another file."""
    found = re.fullmatch(r"block-(\d+)-\d+\.collapsed", name)
    return int(found[1]) if found else None
