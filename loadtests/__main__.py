"""Prints the path of the plugin, for ``locust -f theirs.py,"$(python -m loadtests)"``."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    """Print the path."""
    sys.stdout.write(f"{Path(__file__).resolve().with_name('_plugin.py')}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
