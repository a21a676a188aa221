"""Prints the plugin's path, or with ``knobs`` every scenario's arguments.

``locust -f theirs.py,"$(python -m loadtests)"`` takes the path. Locust's own ``--help`` prints
before it loads any locustfile, so it cannot show their arguments; ``python -m loadtests knobs``
does.
"""

from __future__ import annotations

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def main(arguments: list[str]) -> int:
    """Print what was asked for; return the exit code."""
    if not arguments:
        sys.stdout.write(f"{_HERE / '_plugin.py'}\n")
        return 0
    if arguments == ["knobs"]:
        sys.stdout.write(_knobs())
        return 0
    sys.stderr.write(
        f"{' '.join(arguments)!r} is not known; give nothing for the plugin's path, or 'knobs'.\n"
    )
    return 2


def _knobs() -> str:
    from importlib import import_module  # noqa: PLC0415 - only this needs Locust, a slow import

    from locust.argument_parser import LocustArgumentParser  # noqa: PLC0415 - as above

    from loadtests._arguments import add_arguments  # noqa: PLC0415 - as above
    from loadtests._open_loop import OpenLoopUser  # noqa: PLC0415 - as above

    parser = LocustArgumentParser(
        prog="locust -f loadtests [SCENARIO]", add_help=False, default_config_files=[]
    )
    add_arguments(parser)
    for path in sorted(_HERE.glob("[!_]*.py")):
        kind = getattr(import_module(f"loadtests.{path.stem}"), path.stem)
        if issubclass(kind, OpenLoopUser):
            kind.add_knobs(parser)
    return str(parser.format_help())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
