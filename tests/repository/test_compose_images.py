"""The images that docker-compose.yml builds: the Dockerfile, its locks, what each must contain."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys

import pytest

from tests.support.project.compose_file import services
from tests.support.project.source_tree import ROOT, python_files, tree


def docker_stages() -> dict[str, str]:
    """Each FROM of the Dockerfile: stage name -> image or earlier stage, ARG filled in."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, flags=re.MULTILINE))
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", text, flags=re.MULTILINE)
    return {
        name: re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], image)
        for image, name in stages
    }


def copied_from_tree() -> set[str]:
    """What the Dockerfile copies from the build context."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    return set(re.findall(r"^COPY (?!--from)(\S+) ", text, flags=re.MULTILINE))


def test_every_image_is_pinned() -> None:
    """Each image, in Compose or in a FROM, carries a version with digits; none is `latest`."""
    stages = docker_stages()
    images = [service["image"] for service in services().values()]
    images += [image for image in stages.values() if image not in stages]

    unpinned = [image for image in images if not re.search(r":v?\d+\.\d+", image)]

    assert unpinned == []
    assert len(images) > 8


def test_each_image_is_built_by_one_service_and_never_pulled() -> None:
    """Two builders of one tag replace each other's image, and Compose recreates containers."""
    builders = [one["image"] for one in services().values() if "build" in one]
    ours = {name: one for name, one in services().items() if one["image"] in builders}

    assert len(builders) == len(set(builders)) == 4
    assert {one.get("pull_policy") for one in ours.values()} == {"never"}
    assert {one["image"] for one in services().values() if one["image"].startswith("worthit")} == (
        set(builders)
    )


def test_built_images_are_stages_of_the_one_dockerfile() -> None:
    """What Compose builds is a stage, the last of each runs as a user other than root."""
    stages = docker_stages()
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    targets = {s["build"]["target"] for s in services().values() if "build" in s}

    assert targets == {"run", "load", "notebooks", "collector"}
    assert targets <= set(stages)
    for target in ("run", "load", "notebooks"):
        body = text.split(f" AS {target}\n")[1].split("\nFROM ")[0]
        assert "\nUSER worthit\n" in body


def test_the_dockerfile_copies_what_is_there_and_nothing_else_gets_in() -> None:
    """Every COPY source exists, and .dockerignore lets in exactly those."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}

    assert allowed == copied_from_tree()
    assert [path for path in allowed if not (ROOT / path).exists()] == []


def pins(lock: str) -> dict[str, set[str]]:
    """Distribution -> versions pinned in a lock file."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", lock, re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


@pytest.mark.parametrize("image", ["run", "load", "notebooks"])
def test_the_small_locks_are_parts_of_the_whole(image: str) -> None:
    """An image gets the versions of requirements.lock, with hashes, no registry named."""
    small = (ROOT / f"deploy/requirements-{image}.lock").read_text(encoding="utf-8")
    whole = pins((ROOT / "requirements.lock").read_text(encoding="utf-8"))

    assert {name: v for name, v in pins(small).items() if not v <= whole.get(name, set())} == {}
    assert FOREIGN[image] not in pins(small)
    assert small.count("==") <= small.count("--hash=sha256:")
    assert re.findall(r"https?://|--index-url", small) == []


STARTED = {
    "run": [
        "reference_service.__main__",
        "worthit.simulator.__main__",
        "worthit.recorder.__main__",
    ],
    "load": [
        "locust",
        "worthit.load.plugin.worthit_load_plugin_file",
        *sorted(f"loadtests.{path.stem}" for path in (ROOT / "loadtests").glob("[a-z]*.py")),
    ],
}
"""What each image's processes import."""

FOREIGN = {"run": "pandas", "load": "pandas", "notebooks": "locust"}
"""What each image must do without."""

ONLY_THE_LOCK = """
import importlib.metadata, re, sys
allowed, modules = {allowed!r}, {modules!r}
owners = importlib.metadata.packages_distributions()
class OnlyTheLock:
    def find_spec(self, name, path=None, target=None):
        made_by = owners.get(name.partition(".")[0], [])
        spelled = {{re.sub("[-_.]+", "-", maker).lower() for maker in made_by}}
        if spelled and not spelled & allowed and "worthit" not in spelled:
            raise ModuleNotFoundError(f"{{name}}: the image lacks {{spelled}}", name=name)
sys.meta_path.insert(0, OnlyTheLock())
for module in modules:
    __import__(module)
try:
    import {foreign}
except ModuleNotFoundError:
    print("ok")
"""
"""Imports with every distribution out of reach that is not in the lock."""


@pytest.mark.parametrize("image", STARTED)
def test_an_image_lacks_nothing_that_it_starts(image: str) -> None:
    """What an image's processes import is in its lock, or code that the Dockerfile copies."""
    small = set(pins((ROOT / f"deploy/requirements-{image}.lock").read_text(encoding="utf-8")))
    script = ONLY_THE_LOCK.format(allowed=small, modules=STARTED[image], foreign=FOREIGN[image])
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.returncode) == ("ok\n", 0), done.stderr[-800:]


def test_the_notebooks_image_lacks_nothing_that_analysis_imports() -> None:
    """Each distribution that a module of `analysis` imports is in the lock, Dask's extra apart."""
    lock = set(pins((ROOT / "deploy/requirements-notebooks.lock").read_text(encoding="utf-8")))
    owners = importlib.metadata.packages_distributions()
    imported = {
        name.partition(".")[0]
        for path in python_files("analysis")
        for node in ast.walk(tree(path))
        for name in _imported(node)
    }
    foreign = (
        imported
        - set(sys.stdlib_module_names)
        - {
            *("analysis", "worthit"),
            *("dask", "distributed"),
        }
    )
    makers = {name: {re.sub("[-_.]+", "-", m).lower() for m in owners[name]} for name in foreign}

    assert {name: made_by for name, made_by in makers.items() if not made_by & lock} == {}
    assert {"jupyterlab", "nbclient", "ipykernel"} <= lock
    assert len(foreign) > 8


def _imported(node: ast.AST) -> list[str]:
    """The modules that an import statement names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module]
    return []
