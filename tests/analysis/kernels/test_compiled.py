"""The first use on a machine compiles, and says so; the next ones do not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

KERNEL = """
def doubled(number):
    return 2 * number
"""
USE = """
import logging
logging.basicConfig(level=logging.INFO, format="%(message)s")
from analysis.kernels.compiled import compiled
import kernel
for function in (compiled(kernel.doubled), compiled(kernel.doubled)):
    assert function(21) == 42
"""


def test_compiling_is_announced_once_and_only_where_it_is_done(tmp_path: Path) -> None:
    """Two kernels of a first process are one sentence; the second process finds them on disk."""
    (tmp_path / "kernel.py").write_text(KERNEL, encoding="utf-8")
    environ = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": str(tmp_path),
    }
    said = [
        subprocess.run(
            [sys.executable, "-c", USE], env=environ, capture_output=True, text=True, check=True
        ).stderr
        for _ in range(2)
    ]

    assert said[0].count("compiled for this machine") == 1
    assert not said[1]
