"""Importing a module does nothing, needs nothing, and stays on its side of the fence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project.source_tree import ROOT, module_name, python_files

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
