"""``python -m worthit.load``: print every argument of the scenarios that come along.

Locust's own ``--help`` prints before it loads any locustfile, so it cannot show their arguments.
"""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from locust.argument_parser import LocustArgumentParser

from worthit.contract.scenario_files import scenarios_folder
from worthit.load.arguments import add_arguments
from worthit.load.open_loop import OpenLoopUser


def main() -> int:
    """Print the arguments; return the exit code."""
    parser = LocustArgumentParser(
        prog="locust -f loadtests [SCENARIO]", add_help=False, default_config_files=[]
    )
    add_arguments(parser)
    for path in sorted(scenarios_folder().glob("[!_]*.py")):
        _scenario(path).add_knobs(parser)
    sys.stdout.write(str(parser.format_help()))
    return 0


def _scenario(path: Path) -> type[OpenLoopUser]:
    """Load the user class of one scenario file; its name is the file's."""
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None  # noqa: S101 - the file was just listed
    assert spec.loader is not None  # noqa: S101 - as above
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    found: type[OpenLoopUser] = getattr(module, path.stem)
    assert issubclass(found, OpenLoopUser), path  # noqa: S101 - what a scenario file is
    return found


if __name__ == "__main__":
    sys.exit(main())
