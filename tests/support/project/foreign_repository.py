"""The built wheel in an environment of its own, and somebody else's repository to use it in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.project.source_tree import ROOT

NAMES = ("analysis", "harness", "loadtests", "tests", "worthit_plugin")
"""Packages of theirs: ours had or have some of these names, and the others are near."""

PACKAGE = """
import sys

if not getattr(sys, "they_import", False):
    raise RuntimeError(f"{__file__} was imported, and not by its own repository")
"""
"""Importable by their code alone, which says so first."""

SHOP = """
import sys

sys.they_import = True
import analysis, harness, loadtests, tests, worthit_plugin
del sys.they_import
"""
"""What their code does: it uses each package of theirs."""

LOCUSTFILE = f"""{SHOP}
from locust import HttpUser, constant, task


class Shopper(HttpUser):
    wait_time = constant(0.02)

    @task
    def look(self):
        self.client.get("/look")
"""

SERVICE = f"""{SHOP}
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
tracer = provider.get_tracer("shop")
for number in range(120):
    arm, block = ("off", "on")[number // 10 % 2], number // 10
    about = {{"worthit.arm": arm, "worthit.step": 0, "worthit.block": block}}
    with tracer.start_as_current_span("GET /shop", kind=SpanKind.SERVER, attributes=about):
        with tracer.start_as_current_span("look up"):
            pass
provider.shutdown()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignRepository:
    """A folder of somebody else's, and the environment that they installed the wheel into."""

    folder: Path
    environment: Path
    wheel: Path

    @property
    def python(self) -> str:
        """Their interpreter."""
        return str(self.environment / "bin" / "python")

    @property
    def worthit(self) -> str:
        """The console script that the wheel brought."""
        return str(self.environment / "bin" / "worthit")

    def variables(self, **more: str) -> dict[str, str]:
        """Their shell's variables; the folder is on PYTHONPATH, as many have it."""
        path = os.pathsep.join((str(self.environment / "bin"), os.environ["PATH"]))
        return {**os.environ, "PATH": path, "PYTHONPATH": str(self.folder), **more}

    def run(self, *command: str, timeout_s: float = 120.0, **more: str) -> str:
        """Run a command there to its end; give what it printed to stdout."""
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=self.variables(**more),
            timeout=timeout_s,
        )
        assert ended.returncode == 0, (command, ended.stdout, ended.stderr)
        return ended.stdout


def build_wheel(folder: Path) -> Path:
    """Build the project's wheel from its tree."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        check=True,
        capture_output=True,
        cwd=ROOT,
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def make_foreign_repository(folder: Path) -> ForeignRepository:
    """Build the wheel, install it into a fresh environment, and write their files."""
    theirs, environment = folder / "theirs", folder / "environment"
    wheel = build_wheel(folder)
    venv.create(environment, with_pip=False, symlinks=True)
    _install(wheel, environment)
    for name in NAMES:
        (theirs / name).mkdir(parents=True)
        (theirs / name / "__init__.py").write_text(PACKAGE, encoding="utf-8")
    (theirs / "locustfile.py").write_text(LOCUSTFILE, encoding="utf-8")
    (theirs / "locust.conf").write_text("run-time = 2s\n", encoding="utf-8")
    (theirs / "service.py").write_text(SERVICE, encoding="utf-8")
    return ForeignRepository(folder=theirs, environment=environment, wheel=wheel)


def _install(wheel: Path, environment: Path) -> None:
    """Install the wheel; its dependencies are those of the environment that runs the tests.

    A path in a .pth file is searched last and its own .pth files are not read, so the project's
    tree, which is installed there, stays out of sight.
    """
    subprocess.run(
        [
            *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps"),
            *("--python", str(environment / "bin" / "python"), str(wheel)),
        ],
        check=True,
        capture_output=True,
    )
    (packages,) = environment.glob("lib/python*/site-packages")
    here = sysconfig.get_paths()
    visible = "\n".join(sorted({here["purelib"], here["platlib"]}))
    (packages / "dependencies.pth").write_text(f"{visible}\n", encoding="utf-8")
    _take_along_machine_code(packages)


def _take_along_machine_code(packages: Path) -> None:
    """Copy what numba has compiled in the tree: a fresh environment compiles for a minute.

    numba takes machine code for a source file of the same size and time of change.
    """
    for source in (ROOT / "analysis" / "kernels").glob("*.py"):
        shutil.copystat(source, packages / source.relative_to(ROOT))
    for code in (ROOT / "analysis" / "kernels" / "__pycache__").glob("*.nb?"):
        place = packages / code.relative_to(ROOT)
        place.parent.mkdir(exist_ok=True)
        shutil.copy2(code, place)


def names_in(wheel: Path) -> list[str]:
    """Every file of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()
