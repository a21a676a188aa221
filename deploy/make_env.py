# ruff: noqa: INP001 - a script beside configuration files, not a package
"""Write .env from .env.example with fresh random secrets; never touches a .env that is there."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path

SECRET_BYTES = 24
"""192 random bits each, spelt in hexadecimal so that they may stand in an address."""


def filled(example: str) -> str:
    """Give the example's text with a random value after every ``NAME=`` that has none."""
    lines = [
        f"{line}{secrets.token_hex(SECRET_BYTES)}" if _is_empty_setting(line) else line
        for line in example.splitlines()
    ]
    return "\n".join(lines) + "\n"


def _is_empty_setting(line: str) -> bool:
    return not line.startswith("#") and line.endswith("=")


def main(folder: Path) -> int:
    """Write ``folder/.env`` readable by its owner alone; give the exit code.

    Makes ``folder/runs`` too: Compose shows it to Jupyter, and would make it as root.
    """
    (folder / "runs").mkdir(exist_ok=True)
    target = folder / ".env"
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        sys.stdout.write(
            f"{target} is there already and was left; remove it to get new secrets.\n"
        )
        return 0
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(filled((folder / ".env.example").read_text(encoding="utf-8")))
    sys.stdout.write(f"Wrote {target} with fresh secrets.\n")
    return 0


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    sys.exit(main(Path(__file__).resolve().parent.parent))
